import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';

/** When the first process started, as the OCI runtime recorded it: with its pid this names it for good. */
export async function recordedStartTime(state: string): Promise<number | undefined> {
  const [crun, runc] = await Promise.all([json(join(state, 'status')), json(join(state, 'state.json'))]);
  const value = crun?.['process-start-time'] ?? runc?.['init_process_start'];
  return typeof value === 'number' ? value : undefined;
}

async function json(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR' || error instanceof SyntaxError)
      return undefined;
    throw error;
  }
}

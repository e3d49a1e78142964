import { rename, stat, unlink } from 'node:fs/promises';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { EngineContext } from '../context.ts';
import { parseLogOptions } from './log-options.ts';
import { logPathOf } from './paths.ts';
import type { ContainerRecord } from './record.ts';

/** Milliseconds between looks at the size of a log that has a limit: the kernel tells nobody how long a file is. */
const interval = 1000;

/** Rotates the log of a running container when it outgrows its limit. Returns the way to stop, or nothing to stop. */
export function watchLog(ctx: EngineContext, record: ContainerRecord): (() => void) | undefined {
  if (record.spec.logConfig.driver === 'none') return undefined;
  const { maxSize, maxFile } = parseLogOptions(record.spec.logConfig);
  if (maxSize === undefined) return undefined;
  const path = logPathOf(ctx, record.id);
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    rotateWhenLarger(ctx, record, path, maxSize, maxFile)
      .catch((error: unknown) =>
        ctx.log.error({ container: record.id, err: error }, `rotating the log: ${messageOf(error)}`),
      )
      .finally(() => (busy = false));
  }, interval);
  timer.unref();
  return () => clearInterval(timer);
}

async function rotateWhenLarger(
  ctx: EngineContext,
  record: ContainerRecord,
  path: string,
  maxSize: number,
  maxFile: number,
): Promise<void> {
  const size = await sizeOf(path);
  if (size < maxSize) return;
  failpoint('engine.log-rotate.before');
  for (let index = maxFile - 1; index > 1; index--)
    await moveIfThere(`${path}.${index - 1}`, `${path}.${index}`);
  if (maxFile > 1) await moveIfThere(path, `${path}.1`);
  else await unlink(path);
  failpoint('engine.log-rotate.between');
  await ctx.runtimeOf(record).reopenLog(record.id);
  failpoint('engine.log-rotate.after');
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw error;
  }
}

async function moveIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

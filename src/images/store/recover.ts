import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import type { BlobFiles } from './blob-files.ts';

/** Milliseconds for which an interrupted download is kept to be resumed. */
const keepPartial = 7 * 24 * 3600 * 1000;

/**
 * Brings records and files together after a restart. A file without a record was verified before it got its name, so it is
 * taken in again: whoever collects garbage knows whether somebody needs it. A record without its file goes.
 */
export async function recoverBlobs(files: BlobFiles): Promise<void> {
  await sweepPartial(files);
  const found = new Map<string, number>();
  for (const name of await readdir(files.blobs)) {
    if (!/^[0-9a-f]{64}$/.test(name)) continue;
    const size = await sizeOf(join(files.blobs, name));
    if (size !== undefined) found.set(`sha256:${name}`, size);
  }
  for (const { digest, size } of files.records.all()) {
    const actual = found.get(digest);
    if (actual === undefined) files.records.delete(digest);
    else if (actual !== size) await files.setAside(digest, `it has ${actual} bytes instead of ${size}`);
    found.delete(digest);
  }
  for (const [digest, size] of found) files.records.put(digest, { digest, size });
}

async function sweepPartial(files: BlobFiles): Promise<void> {
  for (const name of await readdir(files.partial)) {
    const path = join(files.partial, name);
    const resumable = /^[0-9a-f]{64}$/.test(name);
    if (resumable && Date.now() - (await ageOf(path)) < keepPartial) continue;
    await rm(path, { recursive: true, force: true });
  }
}

async function ageOf(path: string): Promise<number> {
  return (await stat(path)).mtimeMs;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const info = await stat(path);
    return info.isFile() ? info.size : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

import { join } from 'node:path';
import { programPath } from '../../../host/installation.ts';
import { isleError, messageOf } from '../../../lib/errors.ts';
import { ThreadPool } from '../../../lib/threads.ts';
import { workerFile } from '../../../lib/worker-file.ts';
import type { GuestImageJob } from './guest-image-worker.ts';
import { findPrepared, sourceFiles, sourceIdentity, type GuestImage } from './prepared-image.ts';

export type { GuestImage };

export interface PrepareOptions {
  /** A directory with `vmlinuz` and `modules/VERSION`, as scripts/fetch-guest leaves it, or the path of a kernel of the user's. */
  source: string;
  dataRoot: string;
  /** The guest's init; by default what scripts/build-native built. */
  init?: string;
  log?(message: string): void;
}

/**
 * The kernel and initramfs that guests boot, made once for each kernel and init in `<dataRoot>/guest/<key>`. Calls for the
 * same data root must not overlap. Throws `guestKernel`.
 */
export async function prepareGuest({ source, dataRoot, init, log }: PrepareOptions): Promise<GuestImage> {
  const started = performance.now();
  const target = join(dataRoot, 'guest');
  try {
    const program = init ?? programPath('isle-guest');
    const files = await sourceFiles(source);
    const identity = await sourceIdentity(files, program);
    const known = await findPrepared(target, identity);
    if (known) return known;
    await make({ files, source: identity, target, init: program });
    const image = await findPrepared(target, identity);
    if (!image) throw new Error(`what was made of it in ${target} is damaged already`);
    const how = image.pvh ? 'started directly' : 'unpacked by the guest itself';
    log?.(`guest kernel ${image.version} is ready in ${Math.round(performance.now() - started)} ms (${how})`);
    return image;
  } catch (error) {
    throw isleError('guestKernel', { source, why: messageOf(error) }, error);
  }
}

async function make(job: GuestImageJob): Promise<void> {
  const pool = new ThreadPool({
    file: workerFile(import.meta.url, './guest-image-worker.ts'),
    threads: 1,
    limits: { maxOldGenerationSizeMb: 256 },
  });
  try {
    await pool.run(job);
  } finally {
    await pool.close();
  }
}

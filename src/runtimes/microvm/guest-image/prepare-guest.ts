import { join } from 'node:path';
import { programPath } from '../../../host/installation.ts';
import { isleError, messageOf } from '../../../lib/errors.ts';
import { ThreadPool } from '../../../lib/threads.ts';
import { workerFile } from '../../../lib/worker-file.ts';
import type { GuestImage, GuestImageJob } from './guest-image-worker.ts';

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
  const pool = new ThreadPool({
    file: workerFile(import.meta.url, './guest-image-worker.ts'),
    threads: 1,
    // A kernel is held twice: packed and not.
    limits: { maxOldGenerationSizeMb: 256 },
  });
  const started = performance.now();
  const job: GuestImageJob = {
    source,
    target: join(dataRoot, 'guest'),
    init: init ?? programPath('isle-guest'),
  };
  try {
    const image = (await pool.run(job)) as GuestImage;
    const how = image.pvh ? 'started directly' : 'unpacked by the guest itself';
    log?.(`guest kernel ${image.version} is ready in ${Math.round(performance.now() - started)} ms (${how})`);
    return image;
  } catch (error) {
    throw isleError('guestKernel', { source, why: messageOf(error) }, error);
  } finally {
    await pool.close();
  }
}

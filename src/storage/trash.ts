import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from '../host/tree-async.ts';
import { errnoOf } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Logger } from '../lib/log.ts';

/**
 * Where directories go to be deleted: a rename takes them out of sight at once, the deletion follows in the background, one
 * tree at a time. What a crash leaves is swept by `sweep`. Lies on the same file system as what is thrown away.
 */
export class Trash {
  readonly #path: string;
  readonly #log: Logger;
  readonly #queue: string[] = [];
  #emptying: Promise<void> | undefined;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** Resolves when `path` is out of sight. No error when it is not there. */
  async take(path: string): Promise<void> {
    const place = join(this.#path, randomBytes(8).toString('hex'));
    failpoint('trash.rename.before');
    try {
      await rename(path, place);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      if (!(await this.#make(path, place))) return;
    }
    failpoint('trash.rename.after');
    this.#add(place);
  }

  /** Queues what an earlier life left. */
  async sweep(): Promise<void> {
    await mkdir(this.#path, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#path)) this.#add(join(this.#path, name));
  }

  /** Resolves when everything taken so far is deleted. */
  async emptied(): Promise<void> {
    while (this.#emptying) await this.#emptying;
  }

  /** ENOENT may mean that the trash itself is missing. */
  async #make(path: string, place: string): Promise<boolean> {
    await mkdir(this.#path, { recursive: true, mode: 0o700 });
    try {
      await rename(path, place);
      return true;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
      throw error;
    }
  }

  #add(place: string): void {
    this.#queue.push(place);
    this.#emptying ??= this.#empty().finally(() => {
      this.#emptying = undefined;
    });
  }

  async #empty(): Promise<void> {
    for (let place = this.#queue.shift(); place !== undefined; place = this.#queue.shift()) {
      try {
        await removeTree(place);
      } catch (err) {
        this.#log.warn(
          { err, place },
          'a removed directory could not be deleted; it is tried again on the next start',
        );
      }
    }
  }
}

import { finished, type Readable } from 'node:stream';
import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import { unmountImages } from '../mounts/images.ts';
import { isRunning } from './records.ts';

/**
 * The root of a container for somebody who looks into it, mounted as long as anybody does. A container that runs
 * keeps its own mount; that of a stopped one goes with the last user.
 */
export class Roots {
  #ctx: EngineContext;
  #users = new Map<string, number>();

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  async use<T>(id: string, work: (root: string) => Promise<T>): Promise<T> {
    const root = await this.#enter(id);
    try {
      return await work(root);
    } finally {
      await this.#leave(id);
    }
  }

  /** Like {@link use} for work that gives a stream: the root stays until that ends, however it ends. */
  async stream<T>(
    id: string,
    work: (root: string) => Promise<T>,
    streamOf: (result: T) => Readable,
  ): Promise<T> {
    const root = await this.#enter(id);
    try {
      const result = await work(root);
      finished(streamOf(result), () =>
        this.#ctx.background.run(`leaving the root of ${id}`, () => this.#leave(id)),
      );
      return result;
    } catch (error) {
      await this.#leave(id);
      throw error;
    }
  }

  /**
   * Runs `work` while the root of a container that does not run is not mounted and nobody can look into it. The caller
   * holds the container's queue. Throws `conflict` when somebody looks into it now.
   */
  async alone<T>(id: string, work: () => Promise<T>): Promise<T> {
    return await this.#ctx.queue.run(`root:${id}`, async () => {
      if (this.#users.has(id))
        throw isleError('conflict', {
          message: `files of container ${id} are being copied or exported: try again when that is done`,
        });
      await this.#ctx.snapshots.unmount(id);
      return await work();
    });
  }

  async #enter(id: string): Promise<string> {
    this.#users.set(id, (this.#users.get(id) ?? 0) + 1);
    try {
      return await this.#ctx.queue.run(`root:${id}`, () =>
        this.#ctx.snapshots.mount(id, { idMap: this.#ctx.records.get(id)?.idMap }),
      );
    } catch (error) {
      this.#count(id);
      throw error;
    }
  }

  async #leave(id: string): Promise<void> {
    if (this.#count(id) > 0) return;
    await this.#ctx.queue.run(id, () =>
      this.#ctx.queue.run(`root:${id}`, async () => {
        const record = this.#ctx.records.get(id);
        const inUse = (record && isRunning(record.state)) || this.#users.has(id);
        if (record && !inUse)
          await Promise.all([this.#ctx.snapshots.unmount(id), unmountImages(this.#ctx, record)]);
      }),
    );
  }

  #count(id: string): number {
    const left = (this.#users.get(id) ?? 1) - 1;
    if (left > 0) this.#users.set(id, left);
    else this.#users.delete(id);
    return left;
  }
}

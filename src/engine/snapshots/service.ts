import type { EngineContext } from '../context.ts';
import type { CloneOptions, ContainerSnapshot, ContainerSnapshots, TakenSnapshot } from '../engine.ts';
import { cloneContainer } from './clone.ts';
import { removeSnapshot } from './remove.ts';
import { restoreSnapshot } from './restore.ts';
import { takeSnapshot } from './take.ts';

/** What a container has written, kept as it was. Volumes and binds are not part of it: they have a life of their own. */
export class SnapshotService implements ContainerSnapshots {
  readonly #ctx: EngineContext;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  take(container: string, options: { name?: string; comment: string }): Promise<TakenSnapshot> {
    return takeSnapshot(this.#ctx, container, options);
  }

  list(container: string): ContainerSnapshot[] {
    const record = this.#ctx.records.find(container);
    return record.spec.machine ? [] : this.#ctx.snapshots.saved(record.id);
  }

  restore(container: string, name: string, options: { restart: boolean; timeout?: number }): Promise<void> {
    return restoreSnapshot(this.#ctx, container, name, options);
  }

  remove(container: string, name: string): Promise<void> {
    return removeSnapshot(this.#ctx, container, name);
  }

  clone(container: string, options: CloneOptions): Promise<{ id: string; warnings: string[] }> {
    return cloneContainer(this.#ctx, container, options);
  }
}

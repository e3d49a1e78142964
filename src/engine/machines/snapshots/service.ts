import type { EngineContext } from '../../context.ts';
import type { MachineSnapshot } from '../../machine.ts';
import type { MachineSnapshots } from '../../machines.ts';
import { findMachine } from '../record.ts';
import { removeSnapshot } from './remove.ts';
import { revertSnapshot } from './revert.ts';
import { takeSnapshot, type TakeOptions } from './take.ts';

/** Machines as they were: their disks, what their firmware keeps, their hardware, and their memory if wanted. */
export class MachineSnapshotService implements MachineSnapshots {
  readonly #ctx: EngineContext;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  list(id: string): (MachineSnapshot & { current: boolean })[] {
    const { snapshots, currentSnapshot } = findMachine(this.#ctx, id).spec.machine;
    return snapshots.map((one) => ({ ...one, current: one.name === currentSnapshot }));
  }

  take(id: string, options: TakeOptions): Promise<MachineSnapshot & { pausedMs: number }> {
    return takeSnapshot(this.#ctx, id, options);
  }

  revert(id: string, name: string, options: { force: boolean; start: boolean }): Promise<void> {
    return revertSnapshot(this.#ctx, id, name, options);
  }

  remove(id: string, name: string): Promise<void> {
    return removeSnapshot(this.#ctx, id, name);
  }
}

import type { MachineEndpoint } from './machine.ts';
import type { Store, Table } from '../lib/table.ts';

/**
 * What the engine is about to do, recorded before its first effect and taken away with the transaction that
 * records the result. What is left after a crash is undone or finished by `recovery/`.
 */
export type Intent =
  /** `disks`: those of a machine that are made for it. */
  | { kind: 'create'; id: string; volumes: string[]; disks?: string[] }
  | { kind: 'start'; id: string }
  /** The record is gone; its directories are not yet. */
  | { kind: 'sweep'; id: string; volumes: string[]; disks?: string[] }
  | { kind: 'volume'; id: string }
  /** Frozen for a moment, to be copied. */
  | { kind: 'hold'; id: string }
  /** A machine is being copied to a repository. */
  | { kind: 'backup'; id: string; repository: string; backup: string }
  /** Backups of a machine (which need not be here) are being removed from a repository. */
  | { kind: 'backup-removal'; id: string; repository: string }
  /** Stopped to be restored, and to be started again. */
  | { kind: 'restore'; id: string }
  /** Of a virtual machine: some of its disks may have it, some not. */
  | { kind: 'machine-snapshot'; id: string; name: string; work: 'take' | 'remove' }
  /**
   * A virtual machine goes back to a snapshot: `then` stays off, boots, or continues from its memory. `before`: some of its disks
   * may have gone back; `reverted`: all of them and the record have.
   */
  | {
      kind: 'machine-revert';
      id: string;
      name: string;
      then: 'off' | 'boot' | 'continue';
      disks: 'before' | 'reverted';
    }
  /** The disks of a virtual machine go on in overlays; it stands still for that. */
  | { kind: 'machine-pivot'; id: string }
  /** Its memory is being written; with the file it ends. */
  | { kind: 'machine-save'; id: string; endpoints: MachineEndpoint[] };

export class Intents {
  #table: Table<Intent>;

  constructor(store: Store) {
    this.#table = store.table<Intent>('intents');
  }

  add(intent: Intent): void {
    this.#table.put(`${intent.kind}:${intent.id}`, intent);
  }

  done(kind: Intent['kind'], id: string): void {
    this.#table.delete(`${kind}:${id}`);
  }

  get<K extends Intent['kind']>(kind: K, id: string): Extract<Intent, { kind: K }> | undefined {
    return this.#table.get(`${kind}:${id}`) as Extract<Intent, { kind: K }> | undefined;
  }

  has(kind: Intent['kind'], id: string): boolean {
    return this.#table.get(`${kind}:${id}`) !== undefined;
  }

  all(): Intent[] {
    return this.#table.all();
  }
}

import { isleError } from '../../lib/errors.ts';
import { shortId } from '../../lib/ids.ts';
import type { Store, Table } from '../../lib/table.ts';
import type { ContainerState } from '../model.ts';
import { checkName, randomName } from './names.ts';
import type { ContainerRecord } from './record.ts';

/** The records of all containers, by id and by name. A name belongs to one container from its reservation on. */
export class ContainerRecords {
  #table: Table<ContainerRecord>;
  #owners = new Map<string, string>();

  constructor(store: Store) {
    this.#table = store.table<ContainerRecord>('containers');
    for (const record of this.#table.all()) this.#owners.set(record.name, record.id);
  }

  get(id: string): ContainerRecord | undefined {
    return this.#table.get(id);
  }

  /** By full id, name (with or without a leading slash), or unambiguous prefix of an id. */
  find(reference: string): ContainerRecord {
    const exact = this.#table.get(reference);
    if (exact) return exact;
    const named = this.#owners.get(reference.replace(/^\//, ''));
    const record = named === undefined ? undefined : this.#table.get(named);
    if (record) return record;
    return this.#byPrefix(reference);
  }

  /** Newest first. */
  all(): ContainerRecord[] {
    return this.#table.all().reverse();
  }

  /** Takes a name for `id` (a random one when none is asked for). Throws `invalidName`, `nameInUse`. */
  reserve(name: string | undefined, id: string): string {
    if (name === undefined || name === '') {
      const free = randomName((candidate) => this.#owners.has(candidate));
      this.#owners.set(free, id);
      return free;
    }
    const plain = name.replace(/^\//, '');
    checkName('container', plain);
    const owner = this.#owners.get(plain);
    if (owner !== undefined && owner !== id) throw isleError('nameInUse', { name: plain, id: owner });
    this.#owners.set(plain, id);
    return plain;
  }

  release(name: string, id: string): void {
    if (this.#owners.get(name) === id) this.#owners.delete(name);
  }

  put(record: ContainerRecord): void {
    this.#table.put(record.id, record);
  }

  /** Replaces the record by what `change` makes of it and counts the revision up. */
  change(id: string, change: (record: ContainerRecord) => Partial<ContainerRecord>): ContainerRecord {
    const before = this.#table.get(id);
    if (!before) throw isleError('noSuchContainer', { id });
    const after = { ...before, ...change(before), revision: before.revision + 1 };
    this.#table.put(id, after);
    return after;
  }

  changeState(id: string, state: Partial<ContainerState>): ContainerRecord {
    return this.change(id, (record) => ({ state: { ...record.state, ...state } }));
  }

  delete(id: string): void {
    const record = this.#table.get(id);
    if (!record) return;
    this.#table.delete(id);
    this.release(record.name, id);
  }

  #byPrefix(prefix: string): ContainerRecord {
    const found = /^[0-9a-f]+$/.test(prefix)
      ? this.#table.all().filter((record) => record.id.startsWith(prefix))
      : [];
    if (found.length > 1) throw isleError('ambiguousId', { kind: 'container', id: prefix });
    const [only] = found;
    if (!only) throw isleError('noSuchContainer', { id: prefix });
    return only;
  }
}

/** True while its process exists. */
export function isRunning(state: ContainerState): boolean {
  return state.phase === 'running' || state.phase === 'paused';
}

/** How messages call a container. */
export function titleOf(record: { id: string; name: string }): string {
  return `"/${record.name}" (${shortId(record.id)})`;
}

/** Throws `notRunning` in Docker's words unless its process runs and is not frozen. */
export function requireRunning(records: ContainerRecords, reference: string): ContainerRecord {
  const record = records.find(reference);
  if (record.state.phase === 'paused')
    throw isleError('conflict', {
      message: `container ${record.id} is paused, unpause the container before exec`,
    });
  if (record.state.phase === 'restarting')
    throw isleError('conflict', {
      message: `Container ${record.id} is restarting, wait until the container is running`,
    });
  if (record.state.phase !== 'running') throw isleError('notRunning', { id: record.id });
  return record;
}

import { randomBytes } from 'node:crypto';
import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { Table } from '../../lib/table.ts';
import type { ContainerRecord } from '../containers/record.ts';
import { isRunning } from '../containers/records.ts';
import { checkName } from '../containers/names.ts';
import type { EngineContext } from '../context.ts';
import type { Volume, Volumes } from '../engine.ts';
import { exclusively, type PruneFilters, parsePruneFilters } from '../prune-filters.ts';
import { now } from '../time.ts';

export interface VolumeRequest {
  name?: string;
  driver: string;
  options: Record<string, string>;
  labels: Record<string, string>;
}

/** Named and anonymous volumes: directories on the data root, each with a record. */
export class VolumeService implements Volumes {
  #ctx: EngineContext;
  #table: Table<Omit<Volume, 'mountpoint'>>;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
    this.#table = ctx.store.table('volumes');
  }

  async create(request: VolumeRequest): Promise<Volume> {
    const name = request.name || randomBytes(32).toString('hex');
    checkName('volume', name);
    return await this.#ctx.queue.run(`volume:${name}`, () => this.#ensure(name, request, !request.name));
  }

  get(name: string): Volume {
    const volume = this.#table.get(name);
    if (!volume) throw isleError('noSuchVolume', { name });
    return { ...volume, mountpoint: this.#ctx.volumeFiles.path(name) };
  }

  has(name: string): boolean {
    return this.#table.get(name) !== undefined;
  }

  list(): Volume[] {
    return this.#table
      .all()
      .map((volume) => ({ ...volume, mountpoint: this.#ctx.volumeFiles.path(volume.name) }));
  }

  async remove(name: string, force: boolean): Promise<void> {
    if (!this.has(name) && force) return;
    await this.#ctx.queue.run(`volume:${name}`, async () => {
      this.get(name);
      const users = this.users(name);
      if (users.length > 0)
        throw isleError('conflict', { message: `remove ${name}: volume is in use - [${users.join(', ')}]` });
      await this.#removeNow(name);
    });
  }

  async prune(filters: Record<string, string[]>): Promise<{ removed: string[]; reclaimed: number }> {
    const { all, matches } = parsePruneFilters(filters, ['all', 'label', 'label!']);
    return await exclusively(this.#ctx, 'volumes', () => this.#prune(all, matches));
  }

  async #prune(
    all: boolean,
    matches: PruneFilters['matches'],
  ): Promise<{ removed: string[]; reclaimed: number }> {
    const removed: string[] = [];
    let reclaimed = 0;
    for (const volume of this.list()) {
      if (!(all || volume.anonymous) || !matches(volume.labels, volume.createdAt)) continue;
      await this.#ctx.queue.run(`volume:${volume.name}`, async () => {
        if (!this.has(volume.name) || this.users(volume.name).length > 0) return;
        reclaimed += await this.usage(volume.name);
        await this.#removeNow(volume.name);
        removed.push(volume.name);
      });
    }
    this.#ctx.events.publish('volume', 'prune', '', { reclaimed: String(reclaimed) });
    return { removed, reclaimed };
  }

  users(name: string): string[] {
    return this.#usersOf(name).map(({ id }) => id);
  }

  async usage(name: string): Promise<number> {
    return await this.#ctx.volumeFiles.usage(this.get(name).name);
  }

  /** Of `names`, those that no container but `owner` uses. */
  unused(names: string[], owner: string): string[] {
    return names.filter((name) => this.has(name) && this.#usersOf(name).every(({ id }) => id === owner));
  }

  /** Takes the record away: the caller sees to the directory. */
  forget(name: string): void {
    this.#table.delete(name);
    this.#ctx.events.publish('volume', 'destroy', name, { driver: 'local' });
  }

  /** Makes what a new container needs and is not there. Returns the names that were made. */
  async ensureFor(
    volumes: { name: string; request: VolumeRequest; anonymous: boolean }[],
  ): Promise<string[]> {
    const missing = volumes.filter(({ name }) => !this.has(name));
    await Promise.all(
      missing.map(({ name, request, anonymous }) =>
        this.#ctx.queue.run(`volume:${name}`, () => this.#ensure(name, request, anonymous)),
      ),
    );
    return missing.map(({ name }) => name);
  }

  publishMounts(record: ContainerRecord, action: 'mount' | 'unmount'): void {
    for (const mount of record.mounts) {
      if (mount.type !== 'volume' || mount.name === undefined) continue;
      const more = action === 'mount' ? mountAttributes(mount) : {};
      this.#ctx.events.publish('volume', action, mount.name, {
        container: record.id,
        driver: 'local',
        ...more,
      });
    }
  }

  /** Mounts what a volume's options name (NFS, tmpfs, a bind) on its directory, before its first user starts. */
  async mountFor(record: ContainerRecord): Promise<void> {
    await this.#eachWithOptions(record, (name, options) => this.#ctx.volumeFiles.mount(name, options));
  }

  /** The other way round when the last user has ended. */
  async unmountFor(record: ContainerRecord): Promise<void> {
    await this.#eachWithOptions(record, async (name) => {
      const others = this.#usersOf(name).filter(({ id, state }) => id !== record.id && isRunning(state));
      if (others.length === 0) await this.#ctx.volumeFiles.unmount(name);
    });
  }

  /** What the last daemon mounted for a start that never came about, or had no time to unmount. */
  async unmountIdle(): Promise<void> {
    const mounted = this.#table.all().filter(({ options }) => Object.keys(options).length > 0);
    for (const { name } of mounted) {
      const used = this.#usersOf(name).some(({ state }) => isRunning(state));
      if (!used) await this.#ctx.volumeFiles.unmount(name);
    }
  }

  async #eachWithOptions(
    record: ContainerRecord,
    work: (name: string, options: Record<string, string>) => Promise<void>,
  ): Promise<void> {
    for (const { type, source } of record.mountSpecs) {
      const options = type === 'volume' ? this.#table.get(source)?.options : undefined;
      if (options === undefined || Object.keys(options).length === 0) continue;
      await this.#ctx.queue.run(`volume:${source}`, () => work(source, options));
    }
  }

  /** A directory of a volume whose record was lost becomes a volume again. */
  adopt(name: string): void {
    this.#table.put(name, {
      name,
      driver: 'local',
      createdAt: now(),
      labels: {},
      options: {},
      anonymous: false,
    });
  }

  async #ensure(name: string, request: VolumeRequest, anonymous: boolean): Promise<Volume> {
    if (this.has(name)) return this.#existing(name, request);
    checkDriver(request);
    const { intents, store, volumeFiles, events } = this.#ctx;
    intents.add({ kind: 'volume', id: name });
    try {
      failpoint('engine.volume-create.before');
      await volumeFiles.create(name, request.options);
      failpoint('engine.volume-create.after');
    } catch (error) {
      await volumeFiles.remove(name);
      intents.done('volume', name);
      throw error;
    }
    store.transaction(() => {
      const { labels, options } = request;
      this.#table.put(name, { name, driver: 'local', createdAt: now(), labels, options, anonymous });
      intents.done('volume', name);
      events.publish('volume', 'create', name, { driver: 'local' });
    });
    return this.get(name);
  }

  #existing(name: string, request: VolumeRequest): Volume {
    const driver = request.driver || 'local';
    if (driver !== 'local')
      throw isleError('conflict', {
        message: `create ${name}: conflict: volume name must be unique: a volume of the driver "local" has it`,
      });
    return this.get(name);
  }

  async #removeNow(name: string): Promise<void> {
    const { intents, store, volumeFiles } = this.#ctx;
    failpoint('engine.volume-remove.before');
    store.transaction(() => {
      intents.add({ kind: 'volume', id: name });
      this.forget(name);
    });
    failpoint('engine.volume-remove.recorded');
    await volumeFiles.remove(name);
    failpoint('engine.volume-remove.after');
    intents.done('volume', name);
  }

  #usersOf(name: string): ContainerRecord[] {
    return this.#ctx.records
      .all()
      .filter(({ mountSpecs }) =>
        mountSpecs.some((mount) => mount.type === 'volume' && mount.source === name),
      );
  }
}

function mountAttributes(mount: ContainerRecord['mounts'][number]): Record<string, string> {
  return {
    destination: mount.destination,
    propagation: mount.propagation,
    'read/write': String(mount.readWrite),
  };
}

function checkDriver({ driver }: VolumeRequest): void {
  if (driver !== '' && driver !== 'local')
    throw isleError('invalidParameter', {
      message: `error looking up volume plugin ${driver}: Isle has the driver "local" only`,
    });
}

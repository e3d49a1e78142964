import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { mkdir, readdir, realpath } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { tryLock } from '../../host/file-lock.ts';
import { errnoOf, isleError, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { ThreadPool } from '../../lib/threads.ts';
import { explainFull } from '../disk-full.ts';
import type { BackupJob, ListedBackup } from './backup-worker.ts';
import { BackupDraft } from './draft.ts';
import {
  type BackupFile,
  type BackupManifest,
  machineIdPattern,
  newBackupId,
  parseManifest,
} from './manifest.ts';
import { readQcow2Header } from './qcow2-header.ts';

/** Says that a directory is a repository, and of which kind. */
const marker = 'isle-backups.json';

/** What a new file system has in it. */
const strangers = new Set(['lost+found', marker]);

/** Directories that are not whole, or not wanted any more, begin with that. */
export const unfinished = '.new-';

/** More increments on each other are more than qemu can open. */
export const longestChain = 100;

export interface BackupList {
  /** Oldest first. */
  backups: BackupManifest[];
  damaged: { machine: string; id: string; file: string; why: string }[];
}

/** A file of a backup, open and compared with its checksum: what its descriptor reads is that, whatever the name is given to. */
export interface OpenFile extends Disposable {
  file: BackupFile;
  /** For another process of this host. */
  path: string;
}

/**
 * A directory of the host that holds backups of machines: `<machine>/<backup>/manifest.json` and the files that names. A disk's
 * qcow2 file may stand on the parent's (`../<parent>/<file>`), which plain qemu-img understands. A backup appears under its
 * name when it is whole and on the disk.
 */
export class BackupRepository {
  readonly path: string;
  readonly #workers: ThreadPool;

  /**
   * @param path absolute; it must be there, unless `make`
   * Throws `invalidParameter` for what is neither a repository nor an empty directory.
   */
  static async open(
    path: string,
    workers: ThreadPool,
    options: { make: boolean },
  ): Promise<BackupRepository> {
    const refuse = (message: string, cause?: unknown): Error =>
      isleError('invalidParameter', { message }, cause);
    if (!isAbsolute(path) || path.includes('\0'))
      throw refuse(`the directory of backups ${JSON.stringify(path)} is not an absolute path`);
    try {
      if (options.make) await mkdir(path, { recursive: true, mode: 0o700 });
      const real = await realpath(path);
      const names = await readdir(real);
      const repository = new BackupRepository(real, workers);
      if (names.includes(marker)) return repository;
      if (!options.make) throw refuse(`${path} holds no backups of Isle: it has no ${marker}`);
      const other = names.find((name) => !strangers.has(name));
      if (other !== undefined)
        throw refuse(
          `${path} is neither empty nor a directory of backups (it has ${JSON.stringify(other)}): name another one`,
        );
      await repository.run({ kind: 'write', root: real, path: marker, content: '{"isleBackups":1}\n' });
      return repository;
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'ENOENT') throw refuse(`there is no directory ${path}`, error);
      if (code === 'ENOTDIR' || code === 'EEXIST') throw refuse(`${path} is not a directory`, error);
      throw explainFull(error, path, 'making a directory of backups');
    }
  }

  private constructor(path: string, workers: ThreadPool) {
    this.path = path;
    this.#workers = workers;
  }

  async list(): Promise<BackupList> {
    const found = (await this.run({ kind: 'list', root: this.path })) as ListedBackup[];
    const result: BackupList = { backups: [], damaged: [] };
    for (const { machine, backup, text, problem } of found) {
      const file = join(this.path, machine, backup, 'manifest.json');
      try {
        if (text === undefined) throw isleError('damagedBackup', { file, why: problem ?? 'it is missing' });
        const manifest = parseManifest(text, backup, file);
        if (manifest.machine.id !== machine)
          throw isleError('damagedBackup', { file, why: 'it is that of another machine' });
        result.backups.push(manifest);
      } catch (error) {
        result.damaged.push({ machine, id: backup, file, why: messageOf(error) });
      }
    }
    result.backups.sort((one, other) =>
      one.createdAt < other.createdAt ? -1 : one.createdAt > other.createdAt ? 1 : 0,
    );
    return result;
  }

  /** By its id, the beginning of it, or a machine's name or id (its newest). Throws `noSuchBackup`, `damagedBackup`. */
  async find(reference: string): Promise<BackupManifest> {
    const { backups, damaged } = await this.list();
    const broken = damaged.find(({ id }) => id === reference);
    if (broken) throw isleError('damagedBackup', { file: broken.file, why: broken.why });
    const exact = backups.find(({ id }) => id === reference);
    if (exact) return exact;
    const newest = backups.findLast(({ machine }) => machine.name === reference || machine.id === reference);
    if (newest) return newest;
    const begun = reference.length < 4 ? [] : backups.filter(({ id }) => id.startsWith(reference));
    if (begun.length > 1) throw isleError('ambiguousId', { kind: 'backup', id: reference });
    if (begun[0]) return begun[0];
    throw isleError('noSuchBackup', { id: reference, path: this.path });
  }

  /** It and every backup that it stands on, nearest first. Throws `damagedBackup` naming the one that is missing. */
  chainOf(manifest: BackupManifest, { backups, damaged }: BackupList): BackupManifest[] {
    const chain = [manifest];
    const wrong = (of: BackupManifest, why: string, cause?: unknown): Error =>
      isleError('damagedBackup', { file: this.fileOf(of, 'manifest.json'), why }, cause);
    for (let at = manifest; at.parent !== undefined; ) {
      if (!at.disks.some(({ increment }) => increment)) break;
      const { parent: id, machine } = at;
      const broken = damaged.find((one) => one.id === id && one.machine === machine.id);
      if (broken) throw isleError('damagedBackup', { file: broken.file, why: broken.why });
      const parent = backups.find((one) => one.id === id && one.machine.id === machine.id);
      if (!parent) throw wrong({ ...at, id }, 'it is missing');
      if (parent.createdAt >= at.createdAt) throw wrong(at, `its parent ${id} is not older`);
      for (const disk of at.disks.filter(({ increment }) => increment)) {
        const below = parent.disks.find(({ target }) => target === disk.target);
        if (below?.name !== disk.name || below.virtual !== disk.virtual)
          throw wrong(at, `its parent ${id} does not have the disk ${disk.target} that it stands on`);
      }
      chain.push(parent);
      if (chain.length > longestChain) throw wrong(at, `it stands on more than ${longestChain} backups`);
      at = parent;
    }
    return chain;
  }

  /** Where a file of a backup lies, for messages. */
  fileOf({ id, machine }: Pick<BackupManifest, 'id' | 'machine'>, name: string): string {
    return join(this.path, machine.id, id, name);
  }

  /**
   * A backup of `machine` that is to be written; nobody else writes or removes backups of that machine meanwhile. It counts as
   * younger than all others of it, whatever the clock says. `announce` hears its id before anything is there.
   */
  async begin(
    machine: string,
    files: string[],
    announce: (id: string) => void = () => undefined,
  ): Promise<BackupDraft> {
    const lock = await this.#lock(machine);
    try {
      await this.#sweep(machine);
      const before = (await this.list()).backups.filter((one) => one.machine.id === machine).at(-1);
      const at = new Date(Math.max(Date.now(), before ? Date.parse(before.createdAt) + 1 : 0));
      const id = newBackupId(at, randomBytes(4));
      const directory = `${machine}/${unfinished}${id}`;
      announce(id);
      try {
        failpoint('machine.backup.directory.before');
        await this.run({ kind: 'make', root: this.path, directory, files });
        failpoint('machine.backup.directory.after');
      } catch (error) {
        await this.#sweep(machine);
        throw error;
      }
      return new BackupDraft(this, { id, createdAt: at.toISOString(), machine, directory, lock });
    } catch (error) {
      closeSync(lock);
      throw explainFull(error, this.path, 'making a backup');
    }
  }

  /** Takes away what an unfinished backup of `machine` left. */
  async sweep(machine: string): Promise<void> {
    const lock = await this.#lock(machine);
    try {
      await this.#sweep(machine);
    } finally {
      closeSync(lock);
    }
  }

  /** Opens a file and compares all of it. Throws `damagedBackup` naming it. `onProgress`: bytes more. */
  async openFile(
    manifest: BackupManifest,
    file: BackupFile,
    options: { signal?: AbortSignal; onProgress?(more: number): void } = {},
  ): Promise<OpenFile> {
    const place = this.fileOf(manifest, file.name);
    const wrong = (why: string, cause?: unknown): Error =>
      isleError('damagedBackup', { file: place, why }, cause);
    const { fd, size, start } = await this.#open(manifest, file.name, wrong);
    try {
      if (size !== file.bytes) throw wrong(`it has ${size} bytes instead of ${file.bytes}`);
      const { sha256 } = await this.hash(fd, options);
      if (sha256 !== file.sha256) throw wrong('its checksum is another one: it was changed');
      if ('target' in file) checkImage(manifest, file as BackupManifest['disks'][number], start, wrong);
      return { file, path: `/proc/${process.pid}/fd/${fd}`, [Symbol.dispose]: () => closeSync(fd) };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  async #open(
    { id, machine }: BackupManifest,
    name: string,
    wrong: (why: string, cause: unknown) => Error,
  ): Promise<{ fd: number; size: number; start: Buffer }> {
    try {
      const opened = await this.run({ kind: 'open', root: this.path, path: `${machine.id}/${id}/${name}` });
      const { fd, size, start } = opened as { fd: number; size: number; start: Uint8Array };
      return { fd, size, start: Buffer.from(start) };
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'ENOENT') throw wrong('it is missing', error);
      if (code === 'EMFILE' || code === 'ENFILE') throw error;
      throw wrong(
        `it cannot be opened as a plain file of the directory (${code ?? messageOf(error)})`,
        error,
      );
    }
  }

  async hash(
    fd: number,
    options: { sync?: boolean; signal?: AbortSignal; onProgress?(more: number): void } = {},
  ): Promise<{ bytes: number; sha256: string }> {
    const { sync = false, signal, onProgress } = options;
    const hashed = await this.#workers.run({ kind: 'hash', fd, sync } satisfies BackupJob, {
      signal,
      onProgress: (more) => onProgress?.(more as number),
    });
    return hashed as { bytes: number; sha256: string };
  }

  /** Names of those removed, newest first. Throws `conflict` naming what stands on it. */
  async remove(
    manifest: { id: string; machine: { id: string } },
    { dependents }: { dependents: boolean },
  ): Promise<string[]> {
    const lock = await this.#lock(manifest.machine.id);
    try {
      const { backups } = await this.list();
      const gone = [...dependentsOf(manifest, backups), manifest];
      if (gone.length > 1 && !dependents) {
        const ids = gone.slice(0, -1).map(({ id }) => id);
        throw isleError('conflict', {
          message: `backup ${manifest.id} cannot be removed alone, because ${ids.join(', ')} ${ids.length > 1 ? 'stand' : 'stands'} on it: remove ${ids.length > 1 ? 'those' : 'that'} too (--dependents)`,
        });
      }
      // What stands on others goes first: a crash in between leaves nothing that stands on nothing.
      try {
        for (const { id, machine } of gone) {
          const to = `${unfinished}${id}`;
          failpoint('machine.backup.remove.before');
          await this.run({ kind: 'rename', root: this.path, directory: machine.id, from: id, to });
          failpoint('machine.backup.remove.after');
        }
      } finally {
        await this.#sweep(manifest.machine.id);
      }
      return gone.map(({ id }) => id);
    } finally {
      closeSync(lock);
    }
  }

  async run(job: BackupJob): Promise<unknown> {
    return await this.#workers.run(job);
  }

  async #lock(machine: string): Promise<number> {
    if (!machineIdPattern.test(machine)) throw new Error(`not the id of a machine: ${machine}`);
    const fd = (await this.run({ kind: 'directory', root: this.path, path: machine })) as number;
    if (tryLock(fd)) return fd;
    closeSync(fd);
    throw isleError('conflict', {
      message: `another backup of machine ${machine.slice(0, 12)} is being written to, or removed from, ${this.path}: wait for it`,
    });
  }

  async #sweep(machine: string): Promise<void> {
    const names = await readdir(join(this.path, machine));
    for (const name of names.filter((one) => one.startsWith(unfinished)))
      await this.run({ kind: 'remove', root: this.path, directory: machine, name });
  }
}

/** Those that stand on it, newest first. */
function dependentsOf(
  { id, machine }: { id: string; machine: { id: string } },
  backups: BackupManifest[],
): BackupManifest[] {
  const standing = new Set([id]);
  const found: BackupManifest[] = [];
  for (const one of backups) {
    if (one.machine.id !== machine.id || one.parent === undefined || !standing.has(one.parent)) continue;
    if (!one.disks.some(({ increment }) => increment)) continue;
    standing.add(one.id);
    found.unshift(one);
  }
  return found;
}

/** The file stands on what its manifest says and on nothing else. */
function checkImage(
  { parent }: BackupManifest,
  disk: BackupManifest['disks'][number],
  start: Buffer,
  wrong: (why: string, cause?: unknown) => Error,
): void {
  let header: ReturnType<typeof readQcow2Header>;
  try {
    header = readQcow2Header(start);
  } catch (error) {
    throw wrong(messageOf(error), error);
  }
  const expected = disk.increment ? `../${parent}/${disk.name}` : undefined;
  if (header.backing?.name !== expected || (header.backing && header.backing.format !== 'qcow2'))
    throw wrong(
      `it stands on ${JSON.stringify(header.backing?.name ?? 'nothing')} instead of ${JSON.stringify(expected ?? 'nothing')}`,
    );
  if (header.size !== disk.virtual)
    throw wrong(`the disk in it has ${header.size} bytes instead of ${disk.virtual}`);
}

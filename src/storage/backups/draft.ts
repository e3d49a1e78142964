import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { failpoint } from '../../lib/failpoint.ts';
import { explainFull } from '../disk-full.ts';
import { type BackupDisk, type BackupFile, type BackupManifest, renderManifest } from './manifest.ts';
import { readQcow2Header } from './qcow2-header.ts';
import type { BackupRepository } from './repository.ts';

/** A backup that is being written, under another name; disposing of it takes it away, unless it was kept. */
export class BackupDraft implements AsyncDisposable {
  readonly id: string;
  readonly createdAt: string;
  readonly #repository: BackupRepository;
  readonly #place: { machine: string; directory: string; lock: number };
  #kept = false;

  constructor(
    repository: BackupRepository,
    place: { id: string; createdAt: string; machine: string; directory: string; lock: number },
  ) {
    this.id = place.id;
    this.createdAt = place.createdAt;
    this.#repository = repository;
    this.#place = place;
  }

  pathOf(name: string): string {
    return join(this.#repository.path, this.#place.directory, name);
  }

  /** A file of the host, below a directory that others may write to. Throws the system error ENOENT when it is not there. */
  async copy(fromRoot: string, from: string, name: string, limit: number): Promise<BackupFile> {
    const { path: root } = this.#repository;
    const path = `${this.#place.directory}/${name}`;
    try {
      await this.#repository.run({ kind: 'copy', fromRoot, from, root, path, limit });
      return await this.#seal(name);
    } catch (error) {
      throw explainFull(error, root, 'making a backup');
    }
  }

  /** Of a qcow2 file that has been written. Throws when it does not say what was asked for. */
  async sealDisk(
    disk: { target: string; name: string; virtual: number; parent?: string },
    signal: AbortSignal,
  ): Promise<BackupDisk> {
    const { target, name, virtual, parent } = disk;
    const sealed = await this.#seal(name, signal, (start) => {
      const { size, backing } = readQcow2Header(start);
      const expected = parent && `../${parent}/${name}`;
      if (size !== virtual || backing?.name !== expected)
        throw new Error(`the image that was written for disk ${target} is not what was asked for`);
    });
    return { ...sealed, target, virtual, increment: parent !== undefined };
  }

  /** From here on it is a backup. */
  async keep(manifest: BackupManifest): Promise<void> {
    const { path: root } = this.#repository;
    const { machine, directory } = this.#place;
    try {
      failpoint('machine.backup.manifest.before');
      await this.#repository.run({
        kind: 'write',
        root,
        path: `${directory}/manifest.json`,
        content: renderManifest(manifest),
      });
      failpoint('machine.backup.manifest.after');
      const from = directory.slice(machine.length + 1);
      await this.#repository.run({ kind: 'rename', root, directory: machine, from, to: this.id });
      failpoint('machine.backup.renamed');
      this.#kept = true;
    } catch (error) {
      throw explainFull(error, root, 'making a backup');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { machine, directory, lock } = this.#place;
    try {
      if (this.#kept) return;
      for (const name of [directory.slice(machine.length + 1), this.id])
        await this.#repository.run({ kind: 'remove', root: this.#repository.path, directory: machine, name });
    } finally {
      closeSync(lock);
    }
  }

  async #seal(name: string, signal?: AbortSignal, check?: (start: Buffer) => void): Promise<BackupFile> {
    const root = this.#repository.path;
    const opened = await this.#repository.run({
      kind: 'open',
      root,
      path: `${this.#place.directory}/${name}`,
    });
    const { fd, start } = opened as { fd: number; start: Uint8Array };
    try {
      check?.(Buffer.from(start));
      return { name, ...(await this.#repository.hash(fd, { sync: true, ...(signal ? { signal } : {}) })) };
    } finally {
      closeSync(fd);
    }
  }
}

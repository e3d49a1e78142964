import type { BackupManifest } from '../../../storage/backups/manifest.ts';
import type { BackupList, BackupRepository } from '../../../storage/backups/repository.ts';
import { isleError } from '../../../lib/errors.ts';
import type { EngineContext } from '../../context.ts';
import type { BackupRecord, BackupRequest, DamagedBackup, MachineBackups } from '../../machines.ts';
import { dropBases } from './bases.ts';
import { recordOf } from './record.ts';
import { bytesOf, restoreBackup, type RestoreOptions } from './restore.ts';
import { takeBackup, type TakenBackup } from './take.ts';

export class BackupService implements MachineBackups {
  readonly #ctx: EngineContext;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  take(id: string, options: BackupRequest): Promise<TakenBackup> {
    return takeBackup(this.#ctx, id, options);
  }

  async list(path: string): Promise<{ backups: BackupRecord[]; damaged: DamagedBackup[] }> {
    const { list } = await this.#open(path);
    return {
      backups: list.backups.map(recordOf),
      damaged: list.damaged.map(({ id, file, why }) => ({ id, file, why })),
    };
  }

  async verify(
    path: string,
    reference: string,
    { signal, onProgress }: { signal: AbortSignal; onProgress?(done: number, total: number): void },
  ): Promise<{ backups: string[]; bytes: number }> {
    const { repository, list } = await this.#open(path);
    const chain = repository.chainOf(await repository.find(reference), list);
    const total = bytesOf(chain);
    let done = 0;
    const more = (bytes: number): void => onProgress?.((done += bytes), total);
    for (const backup of chain)
      for (const file of [...backup.disks, ...backup.files])
        (await repository.openFile(backup, file, { signal, onProgress: more }))[Symbol.dispose]();
    return { backups: chain.map(({ id }) => id), bytes: total };
  }

  async restore(
    path: string,
    reference: string,
    options: RestoreOptions,
  ): Promise<{ id: string; warnings: string[] }> {
    const { repository } = await this.#open(path);
    return await restoreBackup(this.#ctx, repository, reference, options);
  }

  async remove(
    path: string,
    reference: string,
    options: { dependents: boolean },
  ): Promise<{ removed: string[] }> {
    const { repository, list } = await this.#open(path);
    // One whose manifest is damaged must be possible to get rid of.
    const damaged = list.damaged.find(({ id }) => id === reference);
    const backup = damaged
      ? { id: damaged.id, machine: { id: damaged.machine } }
      : await repository.find(reference);
    return { removed: await this.#remove(repository, backup, options) };
  }

  async prune(path: string, machine: string, { keep }: { keep: number }): Promise<{ removed: string[] }> {
    if (!Number.isSafeInteger(keep) || keep < 1)
      throw isleError('invalidParameter', { message: `at least one backup must stay, not ${keep}` });
    const { repository, list } = await this.#open(path);
    const mine = list.backups.filter((one) => one.machine.name === machine || one.machine.id === machine);
    if (mine.length === 0) throw isleError('noSuchBackup', { id: machine, path });
    const stay = new Set(
      mine.slice(-keep).flatMap((one) => repository.chainOf(one, list).map(({ id }) => id)),
    );
    const removed: string[] = [];
    for (const one of newestFirst(mine).filter(({ id }) => !stay.has(id)))
      removed.push(...(await this.#remove(repository, one, { dependents: false })));
    return { removed };
  }

  async #remove(
    repository: BackupRepository,
    backup: { id: string; machine: { id: string } },
    options: { dependents: boolean },
  ): Promise<string[]> {
    const { id } = backup.machine;
    this.#ctx.intents.add({ kind: 'backup-removal', id, repository: repository.path });
    try {
      const removed = await repository.remove(backup, options);
      dropBases(this.#ctx, id, removed);
      return removed;
    } finally {
      this.#ctx.intents.done('backup-removal', id);
    }
  }

  async #open(path: string): Promise<{ repository: BackupRepository; list: BackupList }> {
    const repository = await this.#ctx.backups.open(path, { make: false });
    return { repository, list: await repository.list() };
  }
}

/** What stands on others goes before those. */
function newestFirst(backups: BackupManifest[]): BackupManifest[] {
  return backups.toReversed();
}

import { ThreadPool } from '../../lib/threads.ts';
import { workerFile } from '../../lib/worker-file.ts';
import { BackupRepository } from './repository.ts';

/** Reading and hashing is the disk's work, not the event loop's; more at once would only wait for it. */
const threads = 2;

/** Opens directories that hold backups. */
export interface Backups {
  /** See {@link BackupRepository.open}. */
  open(path: string, options: { make: boolean }): Promise<BackupRepository>;
  close(): Promise<void>;
}

export function createBackups(): Backups {
  const workers = new ThreadPool({ file: workerFile(import.meta.url, './backup-worker.ts'), threads });
  return {
    open: (path, options) => BackupRepository.open(path, workers, options),
    close: () => workers.close(),
  };
}

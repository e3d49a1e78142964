import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';

/** A number that a host program left in a file. */
export interface NumberFile {
  value: number;
  /** ISO 8601 with nanoseconds. */
  writtenAt: string;
}

/**
 * Waits for files with a number in them to appear in one directory: the exit codes that conmon renames into
 * place, the pids that the OCI runtime writes. One inotify watch, however many are waited for.
 */
export class NumberFiles {
  #directory: string;
  #watcher: FSWatcher;
  #waiting = new Map<string, () => void>();

  static async open(directory: string, onError: (error: Error) => void): Promise<NumberFiles> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new NumberFiles(directory, onError);
  }

  private constructor(directory: string, onError: (error: Error) => void) {
    this.#directory = directory;
    this.#watcher = watch(directory, { persistent: false }, (_event, name) => {
      if (name !== null) this.#waiting.get(name)?.();
    });
    this.#watcher.on('error', onError);
  }

  /** Resolves with what is in the file `id`, as soon as it is there. Rejects when `signal` aborts. */
  async next(id: string, signal: AbortSignal): Promise<NumberFile> {
    for (;;) {
      // Armed before looking, so that a file which comes in between is not missed.
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#waiting.set(id, resolve);
      const onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      promise.catch(() => {});
      try {
        const found = await this.read(id);
        if (found) return found;
        signal.throwIfAborted();
        await promise;
      } finally {
        signal.removeEventListener('abort', onAbort);
        if (this.#waiting.get(id) === resolve) this.#waiting.delete(id);
      }
    }
  }

  async read(id: string): Promise<NumberFile | undefined> {
    const path = join(this.#directory, id);
    try {
      const [text, info] = await Promise.all([readFile(path, 'latin1'), stat(path, { bigint: true })]);
      if (!/^-?\d{1,10}$/.test(text.trim())) return undefined;
      return { value: Number(text), writtenAt: isoTime(info.mtimeNs) };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  close(): void {
    this.#watcher.close();
  }
}

/** ISO 8601 with nine digits, from nanoseconds since 1970. */
export function isoTime(nanoseconds: bigint): string {
  const seconds = new Date(Number(nanoseconds / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds}.${String(nanoseconds % 1_000_000_000n).padStart(9, '0')}Z`;
}

import type { Readable } from 'node:stream';
import type { LogEntry, LogOptions, PathStat } from './engine.ts';

/** Directories of volumes on the data root: `volumes/<name>/_data`. Names are validated before they come here. */
export interface VolumeFiles {
  path(name: string): string;
  create(name: string): Promise<string>;
  remove(name: string): Promise<void>;
  /** Copies what lies at `target` in a mounted root into the volume when that is empty, owner and mode of the directory too. */
  fill(name: string, rootfs: string, target: string): Promise<void>;
  /** Bytes on disk. */
  usage(name: string): Promise<number>;
  /** Names of all volumes that have a directory. */
  list(): Promise<string[]>;
}

/** `docker cp` and `export` over one root directory; every path is resolved inside it by the kernel. */
export interface ContainerFiles {
  stat(root: string, path: string): Promise<PathStat>;
  read(root: string, path: string): Promise<{ stat: PathStat; tar: Readable }>;
  write(
    root: string,
    path: string,
    tar: Readable,
    options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
  ): Promise<void>;
  export(root: string): Promise<Readable>;
}

/** Reads a container's log file and the rotated ones before it (`<path>.1`, …). With `follow` it goes on until `ended`. */
export type ReadLog = (
  path: string,
  options: LogOptions & { ended: Promise<void> },
  signal: AbortSignal,
) => AsyncIterable<LogEntry>;

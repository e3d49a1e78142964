import type { Readable } from 'node:stream';

/**
 * The contract of virtual machines' disks, under the data root: `disks/<id>/disk.qcow2` (or `.raw`). Formats are
 * always explicit: nothing a guest can write decides how its disk is read. `qemu-img` does the work, confined (another
 * user, no network, only its files) and bounded in memory, time and output; every image from outside is inspected first:
 * a backing file, an external data file, a virtual size over the limit or a format that is not what was said is refused.
 */
export interface Disks {
  /** An empty disk. */
  create(id: string, options: { size: number; format: DiskFormat; preallocate?: boolean }): Promise<Disk>;

  /** From a file of any format of {@link ForeignFormat}, converted. Throws `invalidDisk` saying what is wrong with it, `diskFull`. */
  import(id: string, options: ImportOptions): Promise<Disk>;

  /**
   * `linked`: reads what it has not written from `source`, which becomes read-only and cannot be removed before it. Else
   * a full copy (reflink where possible).
   */
  clone(id: string, source: string, options: { linked: boolean; snapshot?: string }): Promise<Disk>;

  /**
   * Linked clones of several disks as of one moment, all or nothing. `pivot` for sources on which a machine runs: it is given an
   * empty file over each source's present one and has the machine write there from now on (`MachineControl.pivotDisks`).
   */
  cloneLinked(clones: readonly LinkedClone[], pivot?: PivotDisks): Promise<Disk[]>;

  get(id: string): Disk;
  list(): Disk[];
  /** Bytes as they are now. */
  usage(id: string): Promise<{ virtual: number; allocated: number }>;
  /** Of a disk nobody runs on. Growing only, unless `shrink` (raw and qcow2 without snapshots). */
  resize(id: string, size: number, options?: { shrink?: boolean }): Promise<void>;

  /** Internal snapshots, of a disk nobody runs on. */
  takeSnapshot(id: string, name: string): Promise<void>;
  revertSnapshot(id: string, name: string): Promise<void>;
  removeSnapshot(id: string, name: string): Promise<void>;

  /** The disk's file and every file it stands on, nearest first. */
  files(id: string): { path: string; chain: string[] };

  /** Into `target` (a file that is not there yet; only renamed into place when whole). */
  export(id: string, target: string, options: ExportOptions): Promise<void>;

  /** Throws `conflict` naming the clones that stand on it, or the machine that uses it. */
  remove(id: string): Promise<void>;
  /**
   * One machine at a time may write a disk. Throws `conflict` naming the other. Again for the same owner: that has been
   * acknowledged, and the disk stays even when nobody knows the machine any more (its database was lost).
   */
  claim(id: string, owner: string): void;
  release(id: string, owner: string): void;

  /**
   * After a restart: drops what was half made, and what was made for a machine that was never acknowledged; ends the claims
   * of machines that are gone. `known`: ids that machines have.
   */
  recover(known: ReadonlySet<string>): Promise<void>;
}

export type DiskFormat = 'qcow2' | 'raw';
/** qemu-img's words: vpc is VHD, parallels HDD. */
export type ForeignFormat = DiskFormat | 'vmdk' | 'vdi' | 'vhdx' | 'vpc' | 'parallels';

export interface Disk {
  id: string;
  format: DiskFormat;
  /** bytes the guest sees */
  size: number;
  createdAt: string;
  /** What a linked clone stands on. */
  base?: string;
  /** Who may write it. */
  owner?: string;
  snapshots: string[];
}

export interface LinkedClone {
  id: string;
  source: string;
}

export type PivotDisks = (overlays: { source: string; path: string; chain: string[] }[]) => Promise<void>;

export interface ImportOptions {
  /** A host path, or bytes that come. */
  source: string | Readable;
  format: ForeignFormat;
  /**
   * A qcow2 source may stand on these, nearest first, qcow2 all of them: what its headers say of backing files is not
   * followed. The caller has checked them (backups). Absent: it must stand on nothing.
   */
  chain?: string[];
  /** `sha256:…` or `sha512:…` of the source. */
  digest?: string;
  /** Grown to that. */
  size?: number;
  /** The format it is kept in; qcow2. */
  keep?: DiskFormat;
  onProgress?(done: number, total: number): void;
  signal?: AbortSignal;
}

export interface ExportOptions {
  format: ForeignFormat;
  /** VMDK for OVA. */
  streamOptimized?: boolean;
  compress?: boolean;
  onProgress?(done: number, total: number): void;
  signal?: AbortSignal;
}

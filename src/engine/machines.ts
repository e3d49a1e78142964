import type { Duplex } from 'node:stream';
import type { ApplianceDiskFile, ApplianceHint } from '../images/appliances.ts';
import type { Disk, ForeignFormat } from '../storage/disks.ts';
import type { MachineDisk, MachineInfo, MachineSnapshot, MachineSpec } from './machine.ts';
import type { Container, ContainerSpec } from './model.ts';

/**
 * Full virtual machines as every API sees them. A machine is a container whose record's spec has a `machine`: start, stop, kill,
 * pause, rename, logs, attach, exec, copy, stats, events and waiting are {@link Containers}'. References are ids, names or prefixes;
 * those of other containers are refused with `noSuchMachine`.
 */
export interface Machines {
  /** Makes the record and every disk, all or nothing. */
  create(
    name: string | undefined,
    request: MachineRequest,
    work?: MachineWork,
  ): Promise<{ id: string; warnings: string[] }>;
  get(id: string): Container & { spec: ContainerSpec & { machine: MachineSpec } };
  /** By name. */
  list(): ReturnType<Machines['get']>[];
  /** Undefined when it does not run. */
  info(id: string): Promise<MachineInfo | undefined>;
  /** Its network cards, also of one that does not run. */
  cards(id: string): MachineCard[];
  /** Bytes of each disk now, also of one that does not run. */
  disks(id: string): Promise<(MachineDisk & { virtual: number; allocated: number; snapshots: string[] })[]>;

  /** Asks the guest to power off and returns; `containers.stop` waits and then pulls the plug, `containers.kill` pulls it. */
  shutdown(id: string): Promise<void>;
  reboot(id: string): Promise<void>;
  reset(id: string): Promise<void>;
  /** Keeps its memory on disk and ends it; the next start goes on from there. */
  save(id: string): Promise<void>;
  /** Forgets what was saved: the next start boots. */
  discardSaved(id: string): Promise<void>;
  /** What a running machine cannot take up at once is kept for its next start: the answer says which. */
  edit(id: string, change: MachineChange): Promise<{ atNextStart: string[] }>;
  /**
   * Throws `conflict` naming clones that stand on its disks. `disks` false keeps them in the store, to be used by name later.
   * `containers.remove` does the same: a machine's disks are to it what anonymous volumes are to a container (`volumes`).
   */
  remove(id: string, options: { force: boolean; disks: boolean }): Promise<void>;

  readonly hardware: MachineHardwareChanges;
  readonly storage: MachineStorage;
  readonly snapshots: MachineSnapshots;
  readonly backups: MachineBackups;
  readonly appliances: MachineAppliances;
  clone(id: string, options: MachineCloneOptions): Promise<{ id: string; warnings: string[] }>;
  /** Into a new QEMU process under the running guest. */
  migrate(
    id: string,
    options: { signal: AbortSignal; onProgress?(done: number, total: number): void },
  ): Promise<{ pausedMs: number; qemuVersion: string }>;

  screenshot(id: string): Promise<Buffer>;
  /** A ticket that opens the screen once, soon. */
  displayTicket(id: string): { ticket: string; expiresAt: string };
  /** Throws `forbidden` for a ticket that is unknown, used or old. */
  display(ticket: string): Promise<Duplex>;
}

export interface MachineCard {
  network: string;
  model: string;
  /** Absent until its first start gives it one, unless it was asked for. */
  macAddress: string | undefined;
  /** While it runs, in its pod; the addresses are those that Isle gave. */
  interface: string | undefined;
  ipv4: string | undefined;
  ipv6: string | undefined;
}

/** How far something that takes long is, and who ends it. */
export interface MachineWork {
  /** `what`: a disk's target, or a file. Bytes. */
  onProgress?(what: string, done: number, total: number): void;
  signal?: AbortSignal;
}

/** What `isle vm create` says, checked by the engine: the names, limits, networks and ports of a container, the hardware, and where disks come from. */
export interface MachineRequest {
  container: Omit<ContainerSpec, 'image' | 'machine'>;
  hardware: Omit<
    MachineSpec,
    'disks' | 'uuid' | 'snapshots' | 'currentSnapshot' | 'saved' | 'savedWith' | 'generationId'
  > & {
    uuid?: string;
  };
  disks: DiskRequest[];
}

export type DiskRequest = Omit<MachineDisk, 'diskId' | 'path' | 'target' | 'format'> & {
  target?: string;
  format?: MachineDisk['format'];
  source:
    | { kind: 'empty'; size: number }
    /** A file of the user's is copied in. */
    | {
        kind: 'import';
        path: string;
        format: ForeignFormat;
        digest?: string;
        size?: number;
        /** See ImportOptions. Never said by a client. */
        chain?: string[];
      }
    /** One of the store that no machine has: itself or, `linked`, an overlay over it. */
    | { kind: 'disk'; disk: string; linked: boolean; size?: number }
    /** The user's own file, used where it is. */
    | { kind: 'file'; path: string; format: MachineDisk['format'] }
    /** Of an appliance: taken out of it below `directory` when its turn comes, copied in, and dropped again. */
    | {
        kind: 'appliance';
        take(directory: string, signal?: AbortSignal): Promise<ApplianceDiskFile>;
      };
};

export type MachineChange = Partial<
  Omit<
    MachineSpec,
    'disks' | 'snapshots' | 'currentSnapshot' | 'saved' | 'savedWith' | 'generationId' | 'uuid' | 'arch'
  >
>;

/** Disks of the store, whoever has them. */
export interface MachineStorage {
  list(): Promise<StoredDisk[]>;
  /** Of no machine's. Throws `conflict` naming whose it is, or what stands on it. */
  remove(id: string): Promise<void>;
  /** Of no machine's. */
  resize(id: string, size: number, options: { shrink: boolean }): Promise<void>;
}

export interface StoredDisk extends Disk {
  /** bytes on this host */
  allocated: number;
  /** Name of the machine that has it. */
  machine?: string;
}

/** While it runs, and kept; of one that does not run, kept. */
export interface MachineHardwareChanges {
  attachDisk(id: string, disk: DiskRequest, work?: MachineWork): Promise<{ target: string }>;
  /** `remove`: from the store, too. */
  detachDisk(id: string, target: string, options: { remove: boolean }): Promise<void>;
  resizeDisk(id: string, target: string, size: number): Promise<void>;
  limitDisk(id: string, target: string, limits: MachineDisk['limits']): Promise<void>;
  /** Host path; undefined ejects. */
  changeMedium(id: string, target: string, path: string | undefined): Promise<void>;
  /** Network cards come and go by `networks.connect` and `disconnect`. */
  setVcpus(id: string, count: number): Promise<void>;
  setMemory(id: string, bytes: number): Promise<void>;
}

export interface MachineSnapshots {
  /** Oldest first; `parent` makes the tree. */
  list(id: string): (MachineSnapshot & { current: boolean })[];
  take(
    id: string,
    options: { name?: string; comment: string; memory: boolean; quiesce: boolean },
  ): Promise<MachineSnapshot & { pausedMs: number }>;
  /** A snapshot with memory goes on running from it; else it is off afterwards unless `start`. Throws `conflict` for one that runs unless `force`. */
  revert(id: string, name: string, options: { force: boolean; start: boolean }): Promise<void>;
  /** Children become its parent's. */
  remove(id: string, name: string): Promise<void>;
}

export interface MachineCloneOptions {
  name?: string;
  linked: boolean;
  /** Of a snapshot instead of now. A full one. */
  snapshot?: string;
  ports: boolean;
}

/** A backup repository is a directory of the host: a manifest with checksums and qcow2 files, each standing on the one before. */
export interface MachineBackups {
  take(id: string, options: BackupRequest): Promise<BackupRecord & { movedBytes: number; pausedMs: number }>;
  /** Oldest first; and those that cannot be read, with the file that is wrong. */
  list(repository: string): Promise<{ backups: BackupRecord[]; damaged: DamagedBackup[] }>;
  /**
   * Reads every byte of it and of those that it stands on, and compares. Throws `damagedBackup` with the file. Here and below a
   * backup is its id, the beginning of that, or a machine's name: its newest.
   */
  verify(
    repository: string,
    backup: string,
    options: { signal: AbortSignal; onProgress?(done: number, total: number): void },
  ): Promise<{ backups: string[]; bytes: number }>;
  /** A new machine. */
  restore(
    repository: string,
    backup: string,
    options: { name?: string; signal: AbortSignal; onProgress?(done: number, total: number): void },
  ): Promise<{ id: string; warnings: string[] }>;
  /** Throws `conflict` when later ones stand on it, unless `dependents`. */
  remove(
    repository: string,
    backup: string,
    options: { dependents: boolean },
  ): Promise<{ removed: string[] }>;
  /** Of a machine's backups, by its name or id, the newest `keep` stay, and what they stand on. */
  prune(repository: string, machine: string, options: { keep: number }): Promise<{ removed: string[] }>;
}

export interface DamagedBackup {
  id: string;
  file: string;
  why: string;
}

export interface BackupRequest {
  repository: string;
  /** `auto`: incremental where the last one's bitmap is whole, else full. */
  mode: 'auto' | 'full' | 'incremental';
  quiesce: boolean;
  signal: AbortSignal;
  onProgress?(done: number, total: number): void;
}

export interface BackupRecord {
  id: string;
  machine: { id: string; name: string };
  createdAt: string;
  mode: 'full' | 'incremental';
  /** Why it is a full one although an increment was wanted. */
  reason?: string;
  parent?: string;
  quiesced: boolean;
  disks: { target: string; virtual: number; bytes: number }[];
}

export interface MachineAppliances {
  import(
    path: string,
    options: {
      name?: string;
      /** What the file is; absent: by its name. */
      hint?: ApplianceHint;
      /** Change a Linux guest so that it boots on virtio; else it keeps the hardware it knew. */
      virtio: boolean;
      signal: AbortSignal;
      onProgress?(what: string, done: number, total: number): void;
    },
  ): Promise<{ id: string; warnings: string[] }>;
  export(
    id: string,
    options: {
      format: 'ova' | ForeignFormat;
      target: string;
      signal: AbortSignal;
      onProgress?(what: string, done: number, total: number): void;
    },
  ): Promise<{ files: string[]; bytes: number }>;
}

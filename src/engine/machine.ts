import type { Duplex, Readable } from 'node:stream';
import type { PathStat } from './engine.ts';

/**
 * A full virtual machine in the engine's words: what `isle vm create` says, and what can be done with one beyond what a
 * container can. A machine is a container record whose spec has a `machine`: names, networks, published ports, limits, logs (its serial
 * console), stats, events, restart policy and recovery are the same code. Its root is disks, not an image's layers.
 *
 * Sizes are bytes unless a name says otherwise.
 */
export interface MachineSpec {
  arch: 'x86_64' | 'aarch64' | 'riscv64';
  /** `virt` for other architectures than x86_64. */
  type: 'q35' | 'microvm' | 'virt';
  memory: number;
  /** What hot-plug may go up to; absent: no memory hot-plug. */
  maxMemory?: number;
  vcpus: number;
  /** Absent: no CPU hot-plug. */
  maxVcpus?: number;
  /** As of `qemu -cpu`; absent: the host's under KVM, else everything that TCG has. */
  cpuModel?: string;
  firmware: 'bios' | 'uefi' | 'uefi-secure';
  tpm: boolean;
  /** Boots this instead of a boot loader. Host paths. */
  kernel?: { path: string; initrd?: string; arguments: string };
  /**
   * The kernel is all there is: `{ip}`, `{prefix}`, `{netmask}`, `{gateway}`, `{mac}` and `{hostname}` in its arguments become those of its first
   * network card when it starts, and what it writes to QEMU's isa-debug-exit is its exit code.
   */
  unikernel?: boolean;
  disks: MachineDisk[];
  cdroms: { target: string; path?: string }[];
  /** `virtio`, `e1000e`, `rtl8139`, …: what guests without virtio need; order as the container's networks. */
  nicModels: string[];
  shares: { source: string; tag: string; readOnly: boolean }[];
  usb: { vendor: number; product: number }[];
  /** Host PCI addresses (`0000:01:00.0`); whole IOMMU groups only. */
  pci: string[];
  /** Boot order by target (`vda`, `sda` for a CD, `net0`). */
  boot: string[];
  cloudInit?: CloudInit;
  /** As of osinfo-db (`debian12`); decides defaults, shown back. */
  osVariant?: string;
  /** A screen, served as VNC on a UNIX socket. */
  graphics: boolean;
  /** Absent: KVM where it works, else TCG. `kvm` where it does not work for Linux (nested PVM) is for tiny guests. */
  accelerator?: 'kvm' | 'tcg';
  description?: string;
  /** Where it came from: shown, never used. */
  origin?: string;
  /** Changes with every clone: SMBIOS UUID. */
  uuid: string;
  /** Another one whenever the guest goes back in time, so that it makes its randomness anew (vmgenid). Absent: the UUID. */
  generationId?: string;
  /** What was kept by {@link Machines.save} and is continued at the next start. */
  saved?: boolean;
  /** What the saved memory belongs to. */
  savedWith?: MachineMoment;
  snapshots: MachineSnapshot[];
  /** The snapshot that the disks stand on now. */
  currentSnapshot?: string;
}

export interface MachineSnapshot {
  name: string;
  comment: string;
  createdAt: string;
  /** Absent: a root of the tree. */
  parent?: string;
  memory: boolean;
  /** Hardware as it was: a revert with memory needs the same, any revert goes back to it. */
  hardware: MachineHardwareSpec;
  /** Of one with memory. */
  endpoints?: MachineEndpoint[];
}

/** A machine without what has happened to it. */
export type MachineHardwareSpec = Omit<MachineSpec, 'snapshots' | 'currentSnapshot' | 'saved' | 'savedWith'>;

/** What a guest that goes on from its memory believes to have. */
export interface MachineMoment {
  hardware: MachineHardwareSpec;
  endpoints: MachineEndpoint[];
}

export interface MachineEndpoint {
  /** Name of the network. */
  network: string;
  macAddress: string;
  ipv4?: string;
  ipv6?: string;
}

/** Controllers of other hypervisors that QEMU emulates: a guest of theirs boots on what it has drivers for. */
export type ScsiController = 'lsi53c895a' | 'mptsas1068' | 'megasas' | 'pvscsi';

export interface MachineDisk {
  /** Guest's name and the name in commands: `vda`, `vdb`, `sda`. */
  target: string;
  /** In Isle's disk store, or absent when `path` is a file of the user's. */
  diskId?: string;
  path?: string;
  format: 'qcow2' | 'raw';
  bus: 'virtio' | 'scsi' | 'sata' | 'ide' | 'nvme';
  /** Which SCSI controller the guest knows, in QEMU's words; absent: virtio-scsi. Disks of one kind share one. */
  controller?: ScsiController;
  readOnly: boolean;
  cache: 'none' | 'writeback' | 'writethrough' | 'unsafe';
  discard: boolean;
  serial?: string;
  limits: { readBps?: number; writeBps?: number; readIops?: number; writeIops?: number };
}

/** All of it is data: YAML is made from it, nothing is pasted (../storage/seed). */
export interface CloudInit {
  hostname?: string;
  /** Of `user` or of the image's default one. */
  sshKeys: string[];
  /** Made when it is not there, an administrator. */
  user?: string;
  /** A crypt(3) hash, of `user` or of the image's default one. */
  passwordHash?: string;
  /** Of the guest's root, beside. */
  root?: { passwordHash?: string; sshKeys: string[] };
  /** The user's own files, passed on as they are. */
  userData?: string;
  metaData?: string;
  networkConfig?: string;
  /** Changes with every clone, so that cloud-init runs again. */
  instanceId: string;
  /** Of a clone: cloud-init makes a machine-id once, instead of that of the source. */
  freshMachineId?: boolean;
}

/** What the runtime is given beside the workload: everything found and prepared on the host. */
export interface MachineHardware {
  spec: MachineSpec;
  /** Directory of the machine on the data root; may hold state for as long as the machine is. */
  directory: string;
  /** Parallel to `spec.disks`; `chain`: every file below it, read-only (backing files of linked clones). */
  disks: { path: string; chain: string[] }[];
  /** A NoCloud seed to show as a CD. */
  seed?: string;
  /** Continues instead of booting: memory that {@link MachineControl.save} wrote, or a snapshot with memory of the disks. */
  restoreFrom?: { path: string } | { snapshot: string };
}

/** What a runtime can do with a machine beyond the Runtime contract: `Runtime.machines`. */
export interface MachineControl {
  /** Asks the guest to power off (agent if there is one, else ACPI). Resolves when asked, not when done. */
  shutdown(id: string): Promise<void>;
  reboot(id: string): Promise<void>;
  /** As the reset button. */
  reset(id: string): Promise<void>;
  /** Writes memory and devices to `path` and ends QEMU. Tells the hardware that it had. */
  save(id: string, path: string): Promise<{ hardware: MachineHardwareSpec }>;
  info(id: string): Promise<MachineInfo>;

  plugDisk(id: string, disk: MachineDisk, files: { path: string; chain: string[] }): Promise<void>;
  unplugDisk(id: string, target: string): Promise<void>;
  /** Online growth; shrinking is refused. */
  resizeDisk(id: string, target: string, size: number): Promise<void>;
  limitDisk(id: string, target: string, limits: MachineDisk['limits']): Promise<void>;
  changeMedium(id: string, target: string, path: string | undefined): Promise<void>;
  /** A card for an interface that its pod has got, by that name. */
  plugLink(id: string, link: { name: string; model: string }): Promise<void>;
  /** The pod's interface may go afterwards. */
  unplugLink(id: string, name: string): Promise<void>;
  setVcpus(id: string, count: number): Promise<void>;
  setMemory(id: string, bytes: number): Promise<void>;

  /**
   * All disks (and the NVRAM) at one moment, as internal snapshots of their qcow2 files; with memory the guest can be
   * continued from it. `pausedMs`: how long it stood still; `hardware`: what it had.
   */
  takeSnapshot(
    id: string,
    name: string,
    options: { memory: boolean; quiesce: boolean },
  ): Promise<{ pausedMs: number; hardware: MachineHardwareSpec }>;
  revertSnapshot(id: string, name: string): Promise<void>;
  removeSnapshot(id: string, name: string): Promise<void>;

  /** From now on writes to `overlay`, an empty qcow2 file over the disk's present one, which nobody writes any more (live linked clones). */
  pivotDisks(id: string, overlays: { target: string; path: string; chain: string[] }[]): Promise<void>;

  /** Its disks, to be copied. `idle`: it does not run; nobody may start it until this is disposed of. */
  blocks(id: string, idle?: MachineHardware): Promise<MachineBlocks>;

  /**
   * Moves the running guest into a new QEMU process on this host (a newer QEMU, other options). Throws `conflict` naming the
   * hardware that cannot be moved; after any failure the guest goes on where it was. Progress in bytes of memory.
   */
  migrate(
    id: string,
    options: { signal: AbortSignal; onProgress?(done: number, total: number): void },
  ): Promise<{ pausedMs: number }>;

  /** A PNG of what the screen shows. Throws `conflict` for a machine without graphics. */
  screenshot(id: string): Promise<Buffer>;
  /** A connection to its VNC server (RFB); whoever asks has been let in already. Throws `conflict` without graphics. */
  display(id: string): Promise<Duplex>;

  /** Through qemu-guest-agent. Throws `guestAgentMissing`, `guestUnresponsive`. */
  agentFiles(id: string): MachineFiles;
}

export interface MachineInfo {
  accelerator: 'kvm' | 'tcg';
  /** Why not KVM. */
  acceleratorReason?: string;
  qemuVersion: string;
  vcpus: number;
  memory: number;
  /** Undefined when no agent answers. */
  guest?: { hostname?: string; os?: string; addresses: { interface: string; address: string }[] };
  disks: {
    target: string;
    virtualSize: number;
    allocated: number;
    readBytes: number;
    writtenBytes: number;
  }[];
}

/** The block devices of a machine that runs, or of one that does not. Disposing of it gives back what was opened for it. */
export interface MachineBlocks extends AsyncDisposable {
  /** Its disks and `nvram`, as they are now. */
  disks(): Promise<BlockDisk[]>;
  /** Copies disks to `file`s as of one moment, at which a bitmap `next` begins on each disk that can have one. All or nothing. */
  copy(options: BlockCopy): Promise<{ heldMs: number }>;
  removeBitmaps(names: string[]): Promise<void>;
  /** Ends what a daemon that died left of a copy: its jobs and its files' nodes. */
  abandon(): Promise<void>;
}

export interface BlockDisk {
  target: string;
  /** Bytes that the guest sees. */
  size: number;
  /** Bytes on the host, those of files that it stands on not counted. */
  allocated: number;
  /** Those that backups made. A disk whose changes nobody can keep track of (raw, read-only) has none. */
  bitmaps: DirtyBitmap[];
}

export interface DirtyBitmap {
  name: string;
  /** It has every change since it was made. Not so when whoever had the disk open was killed. */
  whole: boolean;
  /** bytes */
  changed: number;
}

export interface BlockCopy {
  /** `target` may be `nvram`, too. */
  disks: {
    target: string;
    /** An empty file on the host; becomes qcow2. */
    file: string;
    /** bytes */
    size: number;
    /** Only what changed since that bitmap began, in an image that stands on the file `backing` (as its header shall say). */
    since?: { bitmap: string; backing: string };
    /** Whether `next` begins on it. */
    track: boolean;
  }[];
  next: string;
  /** Bytes. */
  onProgress(done: number, total: number): void;
  signal: AbortSignal;
  /** The guest's file systems are frozen by its agent for the moment at which it begins. Throws `guestAgentMissing`. */
  quiesce: boolean;
}

/** Of a running guest. Throws `noSuchPath`, `guestAgentMissing`, `guestUnresponsive`, `guestFailed` with the guest's words. */
export interface MachineFiles {
  stat(path: string): Promise<PathStat>;
  /** A tar archive of the path, by its last name. */
  read(path: string): Promise<{ stat: PathStat; tar: Readable }>;
  /** Unpacks an archive into a directory. */
  write(directory: string, tar: Readable, options: { copyUidGid: boolean }): Promise<void>;
}

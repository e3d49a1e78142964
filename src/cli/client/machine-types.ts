/** The parts of `/isle/v1/machines` that the command line reads: docs/isle-api.md. Bytes. */

/** One of the list. */
export interface MachineSummary {
  Id: string;
  Name: string;
  CreatedAt: string;
  /** As of containers: `running`, `paused`, `exited`, … */
  State: string;
  /** For people: `Up 5 minutes`. */
  Status: string;
  /** A saved memory waits for its start. */
  Saved: boolean;
  Memory: number;
  Vcpus: number;
  Arch: string;
  OsVariant?: string;
  Autostart: boolean;
  Addresses: string[];
  Error?: string;
}

export interface MachineBody extends Omit<MachineSummary, 'Disks' | 'Snapshots'> {
  Hostname: string;
  Snapshots: number;
  CurrentSnapshot?: string;
  ExitCode: number;
  RestartPolicy: string;
  Networks: MachineNetwork[];
  Hardware: MachineHardwareBody;
  Disks: MachineDiskBody[];
  /** While it runs. */
  Running?: MachineRunning;
}

export interface MachineNetwork {
  Network: string;
  Model: string;
  /** Absent until its first start, unless it was asked for. */
  MacAddress?: string;
  IPv4?: string;
  IPv6?: string;
}

export interface MachineHardwareBody {
  Arch: string;
  Type: string;
  Memory: number;
  MaxMemory?: number;
  Vcpus: number;
  MaxVcpus?: number;
  CpuModel?: string;
  Firmware: string;
  Tpm: boolean;
  Kernel?: { Path: string; Initrd?: string; Arguments: string };
  Cdroms: { Target: string; Path?: string }[];
  NicModels: string[];
  Shares: { Source: string; Tag: string; ReadOnly: boolean }[];
  Usb: { Vendor: number; Product: number }[];
  Pci: string[];
  Boot: string[];
  OsVariant?: string;
  Graphics: boolean;
  Accelerator?: string;
  Description?: string;
  Origin?: string;
  Uuid: string;
}

export interface MachineDiskBody {
  Target: string;
  /** In Isle's store. */
  Disk?: string;
  /** Or the user's own file. */
  Path?: string;
  Format: string;
  Bus: string;
  ReadOnly: boolean;
  Cache: string;
  Discard: boolean;
  Serial?: string;
  Limits: { ReadBps?: number; WriteBps?: number; ReadIops?: number; WriteIops?: number };
}

/** `GET …/disks`. */
export interface MachineDiskUsage extends MachineDiskBody {
  Size: number;
  Allocated: number;
  Snapshots: string[];
}

/** Of the store. */
export interface StoredDiskBody {
  Id: string;
  Format: string;
  Size: number;
  Allocated: number;
  CreatedAt: string;
  /** What it stands on. */
  Base?: string;
  /** Name of whose it is. */
  Machine?: string;
  Snapshots: string[];
}

export interface MachineRunning {
  Accelerator: string;
  AcceleratorReason?: string;
  QemuVersion: string;
  Vcpus: number;
  Memory: number;
  Guest?: { Hostname?: string; Os?: string; Addresses: { Interface: string; Address: string }[] };
  Disks: { Target: string; ReadBytes: number; WrittenBytes: number }[];
}

/** Of `/isle/v1/machines/{id}/snapshots`. */
export interface MachineSnapshotBody {
  Name: string;
  Comment: string;
  CreatedAt: string;
  Parent?: string;
  /** The guest can go on from it. */
  Memory: boolean;
  Current: boolean;
  /** Targets. */
  Disks: string[];
}

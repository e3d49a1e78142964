/**
 * The contract of machines that come from and go to other hypervisors: their descriptions (OVF, VMX, libvirt's domain XML,
 * xl.cfg, …) are read and written here, by Isle, as hostile text; what is in the disks is the disk store's matter
 * (../storage/disks.ts), which gets each with its format, never probed. Nothing here runs anything or touches an engine.
 */
export interface Appliances {
  /**
   * Looks at a file or directory of the user's. `hint`: what the user says that it is; absent: by name and content of the
   * *description* (a bare disk needs its suffix or a hint). Throws `invalidAppliance` with what is wrong and where, and for
   * checksums that do not match (those of disks: {@link Appliance.disk}, which reads them anyway).
   */
  read(path: string, options?: { hint?: ApplianceHint; signal?: AbortSignal }): Promise<Appliance>;
  /**
   * Writes an OVA whole or not at all: `target` appears when it is complete. `disks`: stream-optimised VMDKs, one for each of
   * `machine.disks` that is no CD drive, in that order.
   */
  write(
    target: string,
    machine: ApplianceMachine,
    disks: ApplianceDiskFile[],
    options?: { signal?: AbortSignal; onProgress?(done: number, total: number): void },
  ): Promise<void>;
}

/** What the user says that a file is: of a disk, its format. */
export type ApplianceHint = ApplianceFormat | ApplianceDiskFile['format'];

export type ApplianceFormat =
  | 'ova'
  | 'ovf'
  | 'vmx'
  | 'vbox'
  | 'vmcx'
  | 'xva'
  | 'xl'
  | 'pvs'
  | 'libvirt'
  | 'disk';

export interface Appliance extends AsyncDisposable {
  format: ApplianceFormat;
  machine: ApplianceMachine;
  /** What could not be carried over, for people. */
  warnings: string[];
  /** Parallel to `machine.disks`. A disk inside an archive is taken out when it is asked for, below `directory`. */
  disk(index: number, directory: string, signal?: AbortSignal): Promise<ApplianceDiskFile>;
}

export interface ApplianceDiskFile {
  path: string;
  format: 'qcow2' | 'raw' | 'vmdk' | 'vdi' | 'vhdx' | 'vpc' | 'parallels';
  /** bytes the guest sees, as the description says; checked against the file. */
  size?: number;
}

/** The hardware in words that all hypervisors share. */
export interface ApplianceMachine {
  name: string;
  uuid?: string;
  description?: string;
  /** Free text of the guest's system, such as `debian12_64Guest`, and Isle's word for it when known (`debian12`). */
  os?: { text: string; variant?: string };
  arch: 'x86_64' | 'aarch64' | 'riscv64';
  memory: number;
  vcpus: number;
  firmware: 'bios' | 'uefi' | 'uefi-secure';
  tpm: boolean;
  disks: {
    name: string;
    bus: 'virtio' | 'scsi' | 'sata' | 'ide' | 'nvme';
    /** Of the controller, where it matters: `lsilogic`, `pvscsi`, `buslogic`, `sas`. */
    controller?: string;
    cdrom: boolean;
    /** bytes */
    size?: number;
    boot?: number;
  }[];
  nics: { macAddress?: string; model?: string; network?: string }[];
}

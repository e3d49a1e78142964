/** Settings of machines: `machine` in the daemon's configuration. */
export interface MachineConfig {
  /** Directory with `qemu-system-*`; unset: /usr/bin. */
  qemuDirectory?: string;
  virtiofsd?: string;
  swtpm?: string;
}

export const defaultMachineConfig: MachineConfig = {};

/** Settings of microVMs: `microvm` in the daemon's configuration. */
export interface MicrovmConfig {
  /** Path of QEMU; unset: the one for this processor in /usr/bin. */
  qemu?: string;
  /** Path of virtiofsd; unset: where the distributions put it. */
  virtiofsd?: string;
  /** Directory with `vmlinuz` and `modules` of the guest's kernel; unset: Debian's kernel for clouds, fetched once. */
  kernelSource?: string;
  /** MiB of a guest for which nobody asked for another size. */
  memory: number;
  /** Processors of a guest for which nobody asked for another number; 0: one. */
  cpus: number;
  /** Seconds from start until the workload runs. */
  bootTimeout: number;
  /** Guests kept booted for workloads to come, each with `memory` and `cpus`. */
  pool: number;
  /** QEMU's machine; unset: `microvm` (on arm64 `virt`). */
  machine?: string;
}

export const defaultMicrovmConfig: MicrovmConfig = { memory: 512, cpus: 0, bootTimeout: 60, pool: 0 };

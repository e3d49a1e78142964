import type { Workload, WorkloadMount } from '../../engine/runtime.ts';
import { confinedWorkload } from '../confined/container.ts';
import { readOnly } from '../confined/root.ts';
import { machinePaths, type MachinePlace } from './layout.ts';
import { machineResources } from './resources.ts';

/** What every machine's confinement is made from. */
export interface Confinement {
  rootfs: string;
  /** Of the host, for every monitor. */
  system: WorkloadMount[];
  /** JSON text. */
  seccompProfile: string;
  vmm: string;
}

/** To change QEMU's user and to end it. */
const capabilities = ['SETGID', 'SETUID', 'KILL'];

/** What virtiofsd needs in its user namespace to serve files of many owners. */
const shareCapabilities = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'MKNOD', 'SETFCAP', 'SYS_CHROOT', 'SETPCAP'],
];

/** The container whose process is the supervisor of a machine. `devices`: those of the host that are passed on. */
export function machineContainer(
  workload: Workload & Required<Pick<Workload, 'machine'>>,
  place: MachinePlace,
  { rootfs, system, seccompProfile, vmm }: Confinement,
  { devices, mounts, locksMemory }: { devices: string[]; mounts: WorkloadMount[]; locksMemory: boolean },
): Workload {
  const { spec } = workload.machine;
  return confinedWorkload(workload, {
    rootfs,
    args: [machinePaths.vmm, machinePaths.directory],
    hostname: 'machine',
    mounts: [
      {
        type: 'bind',
        source: place.files,
        target: machinePaths.files,
        readOnly: false,
        propagation: 'rslave',
      },
      ...system,
      readOnly(vmm, machinePaths.vmm),
      {
        type: 'bind',
        source: place.monitor,
        target: machinePaths.directory,
        readOnly: false,
        nonRecursive: true,
        options: ['nosuid', 'nodev', 'noexec'],
      },
      ...mounts,
    ],
    capabilities: [...capabilities, ...(spec.shares.length > 0 ? shareCapabilities : [])],
    seccompProfile,
    devices,
    resources: machineResources(workload.resources, spec),
    ...(locksMemory ? { ulimits: [{ name: 'memlock', soft: -1, hard: -1 }] } : {}),
  });
}

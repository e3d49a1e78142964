import type { Workload, WorkloadMount } from '../../engine/runtime.ts';
import { confinedWorkload, type Monitored } from '../confined/container.ts';
import { readOnly } from '../confined/root.ts';
import type { MicrovmHost } from './host.ts';
import type { GuestKernel } from './parts.ts';
import { qemuUser } from '../confined/dressing.ts';
import type { VmPlace } from './layout.ts';
import { monitorPaths } from './monitor-paths.ts';
import { monitorResources } from './resources.ts';

/**
 * The container that a microVM's monitor is confined in: an ordinary one, with the shim as its process. Its root holds
 * the host's programs and libraries read-only, the guest's kernel, the VM's directory and the share, and nothing else.
 */
export interface Confinement {
  host: MicrovmHost;
  rootfs: string;
  /** Of the host, for every monitor. */
  system: WorkloadMount[];
  /** JSON text. */
  seccompProfile: string;
  kernel: GuestKernel;
  /** kHz */
  tsc?: number;
}

/**
 * What virtiofsd needs in its user namespace to serve files of many owners, and the shim to change QEMU's user and to
 * end it. QEMU, another user than root, has none.
 */
const capabilities = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'SETGID',
  'SETUID',
  'MKNOD',
  'SETFCAP',
  'SYS_CHROOT',
  'SETPCAP',
  'KILL',
];

export function monitorWorkload(
  workload: Monitored,
  place: VmPlace,
  confinement: Confinement,
  guest: { memory: number; taps: boolean },
): Workload {
  const { host, rootfs, seccompProfile } = confinement;
  return confinedWorkload(
    // Of a terminal no client's going is an end; the guest has it.
    { ...workload, tty: false, stdinOnce: workload.stdinOnce && !workload.tty },
    {
      rootfs,
      args: [monitorPaths.shim, monitorPaths.directory, String(qemuUser)],
      hostname: 'microvm',
      mounts: monitorMounts(place, confinement),
      capabilities,
      seccompProfile,
      devices: [...(host.accelerator === 'kvm' ? ['/dev/kvm'] : []), ...(guest.taps ? ['/dev/net/tun'] : [])],
      resources: monitorResources(workload.resources, guest.memory),
    },
  );
}

function monitorMounts(place: VmPlace, { host, system, kernel }: Confinement): WorkloadMount[] {
  return [
    // The share is first: whatever the image has in it, the host's files and the shim's lie over it.
    {
      type: 'bind',
      source: place.share,
      target: monitorPaths.share,
      readOnly: false,
      propagation: 'rslave',
    },
    ...system,
    readOnly(host.shim, monitorPaths.shim),
    readOnly(kernel.kernel, monitorPaths.kernel),
    readOnly(kernel.initramfs, monitorPaths.initramfs),
    {
      type: 'bind',
      source: place.monitor,
      target: monitorPaths.directory,
      readOnly: false,
      nonRecursive: true,
      options: ['nosuid', 'nodev', 'noexec'],
    },
  ];
}

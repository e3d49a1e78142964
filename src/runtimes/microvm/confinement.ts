import { readFile } from 'node:fs/promises';
import type { Workload, WorkloadMount } from '../../engine/runtime.ts';
import { isleError, messageOf } from '../../lib/errors.ts';
import type { Dressing } from '../oci/dressing.ts';
import type { MicrovmHost } from './host.ts';
import type { GuestKernel } from './parts.ts';
import type { VmPlace } from './layout.ts';
import { monitorPaths, qemuUser } from './monitor-paths.ts';
import { readOnly } from './monitor-root.ts';
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

/**
 * What an ordinary container's configuration does not say: its devices are QEMU's alone.
 */
export const monitorDressing: Dressing = {
  name: 'microvm',
  traits: { ownKernel: true, idMap: true, bootsInit: false },
  dress: async (workload) => ({
    workload,
    change({ linux }) {
      // Never the host's network: one that has no pod yet gets an empty namespace.
      if (!linux.namespaces.some(({ type }) => type === 'network'))
        linux.namespaces.push({ type: 'network' });
      for (const device of linux.devices)
        Object.assign(device, { fileMode: 0o600, uid: qemuUser, gid: qemuUser });
    },
  }),
};

/** What of a workload its monitor is made from. */
export type Monitored = Pick<
  Workload,
  | 'id'
  | 'stateDir'
  | 'logPath'
  | 'log'
  | 'tty'
  | 'stdin'
  | 'stdinOnce'
  | 'idMap'
  | 'netns'
  | 'oomScoreAdj'
  | 'cgroupParent'
  | 'resources'
>;

export function monitorWorkload(
  workload: Monitored,
  place: VmPlace,
  confinement: Confinement,
  guest: { memory: number; taps: boolean },
): Workload {
  const { host, rootfs, seccompProfile } = confinement;
  const devices = [
    ...(host.accelerator === 'kvm' ? ['/dev/kvm'] : []),
    ...(guest.taps ? ['/dev/net/tun'] : []),
  ];
  return {
    id: workload.id,
    rootfs,
    stateDir: workload.stateDir,
    ...(workload.logPath === undefined ? {} : { logPath: workload.logPath }),
    log: workload.log,
    args: [monitorPaths.shim, monitorPaths.directory, String(qemuUser)],
    env: [],
    cwd: '/',
    user: '',
    groupAdd: [],
    tty: false,
    stdin: workload.stdin,
    // Of a terminal no client's going is an end; the guest has it.
    stdinOnce: workload.stdinOnce && !workload.tty,
    init: false,
    ...(workload.idMap ? { idMap: workload.idMap } : {}),
    hostname: 'microvm',
    domainname: '',
    mounts: monitorMounts(place, confinement),
    readonlyRootfs: true,
    shmSize: 65_536,
    ...(workload.netns === undefined ? {} : { netns: workload.netns }),
    ipc: 'none',
    pid: 'private',
    uts: 'private',
    cgroupns: 'private',
    privileged: false,
    capAdd: capabilities,
    capDrop: ['ALL'],
    securityOpt: ['no-new-privileges', `seccomp=${seccompProfile}`],
    devices: devices.map((path) => ({ hostPath: path, containerPath: path, permissions: 'rw' })),
    deviceCgroupRules: [],
    sysctls: {},
    ulimits: [],
    ...(workload.oomScoreAdj === undefined ? {} : { oomScoreAdj: workload.oomScoreAdj }),
    cgroupParent: workload.cgroupParent,
    resources: monitorResources(workload.resources, guest.memory),
    annotations: {},
  };
}

/** Their owners are those of the user namespace already. */
function monitorMounts(place: VmPlace, { host, system, kernel }: Confinement): WorkloadMount[] {
  const mounts: WorkloadMount[] = [
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
    ...['/sys', '/sys/fs/cgroup', '/dev/mqueue', '/dev/shm'].map((target): WorkloadMount => empty(target)),
  ];
  return mounts.map((mount) => ({ ...mount, owners: 'host' }));
}

/** In place of the kernel's own, which a monitor has no use for. */
function empty(target: string): WorkloadMount {
  return { type: 'tmpfs', source: '', target, readOnly: target !== '/sys', options: ['size=4k', 'mode=755'] };
}

/** unshare(2) with nothing but CLONE_FS, which C virtiofsd does in each thread, is no new namespace. */
const unshareFs = {
  names: ['unshare'],
  action: 'SCMP_ACT_ALLOW',
  args: [{ index: 0, value: 0x200, valueTwo: 0, op: 'SCMP_CMP_EQ' }],
};

/** The containers' profile and what virtiofsd needs beyond. Throws `unavailable` when it cannot be read. */
export async function monitorProfile(path: string): Promise<string> {
  try {
    const profile = JSON.parse(await readFile(path, 'utf8')) as { syscalls?: object[] };
    return JSON.stringify({ ...profile, syscalls: [...(profile.syscalls ?? []), unshareFs] });
  } catch (error) {
    throw isleError(
      'unavailable',
      { message: `cannot read the seccomp profile ${path}: ${messageOf(error)}; run isle doctor` },
      error,
    );
  }
}

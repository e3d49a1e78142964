import type { Workload, WorkloadMount } from '../../engine/runtime.ts';
import type { Resources } from '../../engine/model.ts';

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

export interface Confined {
  /** Made by `makeMonitorRoot`. */
  rootfs: string;
  args: string[];
  hostname: string;
  /** Their owners are those of the user namespace already. */
  mounts: WorkloadMount[];
  capabilities: string[];
  /** JSON text. */
  seccompProfile: string;
  /** Host paths; the same inside, QEMU's alone. */
  devices: string[];
  resources: Resources;
  /** Beyond the profile's own limits. */
  ulimits?: Workload['ulimits'];
}

/**
 * The container that a virtual machine's monitor is confined in, for whoever runs `workload`: an ordinary one with its own
 * namespaces, a read-only root that holds what is mounted and nothing else, and no capability that is not named.
 */
export function confinedWorkload(workload: Monitored, confined: Confined): Workload {
  const { rootfs, args, hostname, mounts, capabilities, seccompProfile, devices, resources } = confined;
  return {
    id: workload.id,
    rootfs,
    stateDir: workload.stateDir,
    ...(workload.logPath === undefined ? {} : { logPath: workload.logPath }),
    log: workload.log,
    args,
    env: [],
    cwd: '/',
    user: '',
    groupAdd: [],
    tty: workload.tty,
    stdin: workload.stdin,
    stdinOnce: workload.stdinOnce,
    init: false,
    ...(workload.idMap ? { idMap: workload.idMap } : {}),
    hostname,
    domainname: '',
    mounts: [...mounts, ...kernelPlaces.map((target) => empty(target))].map((mount) => ({
      ...mount,
      owners: 'host',
    })),
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
    ulimits: confined.ulimits ?? [],
    ...(workload.oomScoreAdj === undefined ? {} : { oomScoreAdj: workload.oomScoreAdj }),
    cgroupParent: workload.cgroupParent,
    resources,
    annotations: {},
  };
}

const kernelPlaces = ['/sys', '/sys/fs/cgroup', '/dev/mqueue', '/dev/shm'];

/** In place of the kernel's own, which a monitor has no use for. */
function empty(target: string): WorkloadMount {
  return { type: 'tmpfs', source: '', target, readOnly: target !== '/sys', options: ['size=4k', 'mode=755'] };
}

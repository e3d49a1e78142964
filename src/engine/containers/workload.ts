import { join } from 'node:path';
import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { MachineHardware } from '../machine.ts';
import type { NamespaceMode, Ulimit } from '../model.ts';
import type { Namespace, Workload, WorkloadMount } from '../runtime.ts';
import { identityFiles } from './identity.ts';
import { logPathOf, stateDirOf } from './paths.ts';
import { ownerOf } from './pod-network.ts';
import type { ContainerRecord } from './record.ts';
import { isRunning } from './records.ts';

const defaultShmSize = 64 * 1024 * 1024;

/** What a start found out about its surroundings. */
export interface Surroundings {
  rootfs: string;
  netns: string | undefined;
  mounts: WorkloadMount[];
  /** Of a virtual machine: there is no root. */
  machine?: MachineHardware;
}

/** The record and its surroundings in the runtime's words. Throws `conflict` when a namespace's owner is down. */
export function workloadOf(ctx: EngineContext, record: ContainerRecord, around: Surroundings): Workload {
  const { spec, process } = record;
  return {
    id: record.id,
    rootfs: around.rootfs,
    stateDir: stateDirOf(ctx, record.id),
    logPath: spec.logConfig.driver === 'none' ? undefined : logPathOf(ctx, record.id),
    log: spec.logConfig,
    ...commandOf(record),
    ...(around.machine && { machine: around.machine }),
    env: process.env,
    cwd: process.cwd,
    user: process.user,
    groupAdd: spec.groupAdd,
    tty: spec.tty,
    stdin: spec.openStdin,
    stdinOnce: spec.stdinOnce,
    size: sizeOf(ctx, record),
    init: spec.init ?? ctx.defaults.init,
    idMap: record.idMap,
    hostname: record.hostname,
    domainname: spec.domainname,
    mounts: around.machine ? [] : [...filesOf(ctx, record, around.mounts), ...around.mounts],
    readonlyRootfs: spec.readonlyRootfs,
    shmSize: spec.shmSize ?? defaultShmSize,
    netns: around.netns,
    ipc: spec.ipcMode === 'shareable' ? 'shareable' : namespaceOf(ctx, spec.ipcMode, 'IPC'),
    pid: namespaceOf(ctx, spec.pidMode, 'PID'),
    uts: namespaceOf(ctx, spec.utsMode, 'UTS'),
    cgroupns: namespaceOf(ctx, spec.cgroupnsMode, 'cgroup'),
    privileged: spec.privileged,
    capAdd: spec.capAdd,
    capDrop: spec.capDrop,
    securityOpt: spec.securityOpt,
    maskedPaths: spec.maskedPaths,
    readonlyPaths: spec.readonlyPaths,
    devices: spec.devices,
    deviceCgroupRules: spec.deviceCgroupRules,
    sysctls: spec.sysctls,
    ulimits: mergeUlimits(ctx.defaults.ulimits, spec.ulimits),
    oomScoreAdj: spec.oomScoreAdj,
    cgroupParent: spec.cgroupParent,
    resources: spec.resources,
    annotations: spec.annotations ?? {},
  };
}

function commandOf({ process, spec, bootsInit }: ContainerRecord): Pick<Workload, 'args' | 'bootInit'> {
  if (spec.machine) return { args: [] };
  if (!bootsInit) return { args: [process.path, ...process.args] };
  return { args: [...(spec.entrypoint ?? []), ...(spec.command ?? [])], bootInit: true };
}

function sizeOf(ctx: EngineContext, record: ContainerRecord): Workload['size'] {
  const asked = ctx.sizes.get(record.id);
  if (asked) return asked;
  const [rows, columns] = record.spec.consoleSize ?? [0, 0];
  return rows > 0 && columns > 0 ? { rows, columns } : undefined;
}

/** hostname, hosts and resolv.conf, unless the user mounts something there. */
function filesOf(ctx: EngineContext, record: ContainerRecord, mounts: WorkloadMount[]): WorkloadMount[] {
  const taken = new Set(mounts.map((mount) => mount.target));
  const owner = ownerOf(record.spec);
  const directory = stateDirOf(ctx, owner === undefined ? record.id : ctx.records.find(owner).podId);
  return identityFiles
    .filter((name) => !taken.has(`/etc/${name}`))
    .map((name) => ({
      type: 'bind',
      source: join(directory, name),
      target: `/etc/${name}`,
      readOnly: record.spec.readonlyRootfs,
      propagation: 'rprivate',
      owners: 'host',
    }));
}

function namespaceOf(ctx: EngineContext, mode: NamespaceMode, kind: string): Namespace {
  if (mode === 'shareable') return 'private';
  if (typeof mode === 'string') return mode;
  const owner = ctx.records.find(mode.container);
  if (!isRunning(owner.state))
    throw isleError('conflict', { message: `cannot join ${kind} of a non running container: ${owner.id}` });
  if (kind === 'IPC' && owner.spec.ipcMode === 'private')
    throw isleError('conflict', {
      message: `cannot join IPC of container ${owner.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
    });
  return { pid: owner.state.pid };
}

function mergeUlimits(defaults: Ulimit[], asked: Ulimit[]): Ulimit[] {
  const names = new Set(asked.map(({ name }) => name));
  return [...defaults.filter(({ name }) => !names.has(name)), ...asked];
}

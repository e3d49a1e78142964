import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { ContainerSpec, MountSpec, NamespaceMode, Resources } from '../model.ts';
import type { RuntimeTraits } from '../runtime.ts';
import { ownerOf } from './pod-network.ts';

/**
 * Refuses what the isolation cannot give, whichever side asks for it. References are full ids already. `--privileged`
 * is allowed with a kernel of its own: it gives every capability there, and nothing of the host.
 */
export function checkIsolation(
  ctx: Pick<EngineContext, 'records' | 'runtimes'>,
  traits: RuntimeTraits,
  spec: ContainerSpec,
): void {
  for (const [what, id] of shared(spec)) {
    const { name, runtimeName } = ctx.records.find(id);
    if (ctx.runtimes.get(runtimeName)?.traits.ownKernel)
      refuse(
        `cannot share the ${what} of container "${name}": its runtime ${runtimeName} gives it a kernel of its own`,
      );
  }
  if (!traits.ownKernel) return;
  const wrong = [...namespaces(spec), ...hostThings(spec), ...spec.mounts.flatMap(mountProblems)][0];
  if (wrong !== undefined) refuse(`${wrong}: the runtime ${spec.runtime} gives it a kernel of its own`);
  checkOwnKernelLimits(spec.runtime, spec.resources);
}

function refuse(message: string): never {
  throw isleError('invalidParameter', { message });
}

/** Namespaces of other containers, by what they are called. */
function shared(spec: ContainerSpec): [string, string][] {
  const modes: [string, NamespaceMode][] = [
    ['IPC namespace', spec.ipcMode],
    ['processes', spec.pidMode],
    ['host name', spec.utsMode],
    ['cgroup namespace', spec.cgroupnsMode],
  ];
  const owner = ownerOf(spec);
  return [
    ...(owner === undefined ? [] : [['network', owner] satisfies [string, string]]),
    ...modes.flatMap(([what, mode]): [string, string][] =>
      typeof mode === 'object' ? [[what, mode.container]] : [],
    ),
  ];
}

function namespaces(spec: ContainerSpec): string[] {
  const asked: [string, boolean][] = [
    [`--network ${spec.networkMode}`, spec.networkMode === 'host' || ownerOf(spec) !== undefined],
    ['--ipc', isForeign(spec.ipcMode)],
    ['--pid', isForeign(spec.pidMode)],
    ['--uts', isForeign(spec.utsMode)],
    // `host` is what Docker makes of --privileged when nobody says.
    ['--cgroupns host', isForeign(spec.cgroupnsMode) && !spec.privileged],
    ['--userns host', spec.usernsMode === 'host'],
  ];
  return asked.filter(([, is]) => is).map(([flag]) => `${flag} shares a namespace, which is not possible`);
}

function isForeign(mode: NamespaceMode): boolean {
  return mode === 'host' || typeof mode === 'object';
}

function hostThings(spec: ContainerSpec): string[] {
  const options = spec.securityOpt.filter((option) => !harmless.test(option));
  return [
    ...spec.devices.map(({ hostPath }) => `cannot give it the host's device ${hostPath}`),
    ...(spec.deviceCgroupRules.length > 0 ? ['--device-cgroup-rule has no meaning for it'] : []),
    ...options.map(
      (option) => `--security-opt ${option} acts on the host's kernel, not on the one it runs on`,
    ),
  ];
}

/** Those that hold inside, or ask for no more than it has. */
const harmless = /^(no-new-privileges([:=](true|false))?|(seccomp|apparmor)[=:]unconfined|label[=:]disable)$/;

function mountProblems({ type, propagation, target }: MountSpec): string[] {
  const passes = type === 'bind' && propagation !== undefined && !/private$/.test(propagation);
  return passes ? [`mounts cannot propagate (${propagation}) at ${target}`] : [];
}

/** Limits that act on processes the host does not see. Also for `update`. */
export function checkOwnKernelLimits(runtime: string, limits: Resources): void {
  const asked: [string, unknown][] = [
    ['--oom-kill-disable', limits.oomKillDisable],
    ['--cpu-rt-period', limits.cpuRealtimePeriod],
    ['--cpu-rt-runtime', limits.cpuRealtimeRuntime],
    ['a limit of the kernel memory for TCP', limits.kernelMemoryTcp],
  ];
  const wrong = asked.find(([, value]) => Boolean(value))?.[0];
  if (wrong !== undefined)
    refuse(`${wrong} has no effect: the runtime ${runtime} gives it a kernel of its own`);
}

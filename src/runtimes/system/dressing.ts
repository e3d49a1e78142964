import type { Workload, WorkloadMount } from '../../engine/runtime.ts';
import type { Dressed, Dressing } from '../oci/dressing.ts';
import type { OciMount, OciSpec } from '../oci/spec-types.ts';
import { initCapabilities } from './capabilities.ts';
import { delegate } from './delegation.ts';
import { endingOf, findInit, type Init, isInitCommand, usualInit } from './init.ts';
import { inittabOf } from './inittab.ts';
import type { Lxcfs } from './lxcfs.ts';
import { openForNesting, presentDevices, takeNesting } from './nesting.ts';

export interface SystemParts {
  /** Where the hierarchy of cgroup v2 is mounted on the host, whether it has the controllers or not. */
  unified: string;
  lxcfs: Pick<Lxcfs, 'mounts' | 'join' | 'leave' | 'close'>;
}

/**
 * A container that boots a distribution, by what systemd calls the container interface
 * (https://systemd.io/CONTAINER_INTERFACE). A command that is no init runs as the first process, with the same
 * file systems and control groups.
 */
export function systemDressing(parts: SystemParts): Dressing {
  return {
    name: 'system',
    traits: { ownKernel: false, idMap: true, bootsInit: true },
    async dress(given, host): Promise<Dressed> {
      const { workload: asked, nesting } = takeNesting(given);
      const init = await initOf(asked);
      const [booting, limits] = await Promise.all([
        init ? bootable(asked, init) : asked,
        parts.lxcfs.mounts(),
      ]);
      const workload = {
        ...booting,
        ...((init ?? nesting) && { capAdd: initCapabilities(asked, host.capabilities) }),
        ...(nesting && { devices: [...asked.devices, ...(await presentDevices())] }),
      };
      return {
        workload,
        ...(init && { ending: endingOf(init.kind) }),
        change: (spec) => {
          ownCgroups(spec, workload, init !== undefined);
          spec.mounts.push(...limits);
          if (nesting) openForNesting(spec);
        },
        created: async (cgroup) => {
          if (limits.length > 0) await parts.lxcfs.join(asked.id);
          if (workload.idMap) await delegate(parts.unified, cgroup, workload.idMap);
        },
      };
    },
    removed: (id) => parts.lxcfs.leave(id),
    close: () => parts.lxcfs.close(),
  };
}

/** The init that is to be run; undefined when another command was named. */
async function initOf({ bootInit, args: [command = ''], rootfs }: Workload): Promise<Init | undefined> {
  if (isInitCommand(command)) return await findInit(rootfs, command);
  return bootInit ? await findInit(rootfs, usualInit) : undefined;
}

async function bootable(asked: Workload, init: Init): Promise<Workload> {
  const inittab = await inittabOf(asked.rootfs, init.kind, asked.stateDir);
  return {
    ...asked,
    // What an image would run that is no init has no say.
    args: [init.path, ...(isInitCommand(asked.args[0]) ? asked.args.slice(1) : [])],
    env: environment(asked, init),
    // An image's user and directory are meant for its application.
    user: '',
    cwd: '/',
    // The console is a terminal whether somebody looks at it or not.
    tty: true,
    // Docker's clients ask for the host's with --privileged; no init can make groups there.
    cgroupns: 'private',
    // It has to be the first process itself.
    init: false,
    mounts: [...memoryMounts(asked, inittab), ...asked.mounts],
  };
}

/** Inits look for `container`; for what is not systemd, LXC's name is the one that is known. */
function environment({ env, id, tty }: Workload, { kind }: Init): string[] {
  const own = {
    container: kind === 'systemd' ? 'isle' : 'lxc',
    container_uuid: id.slice(0, 32),
    // Nobody who reads a log wants colours.
    ...(tty ? {} : { TERM: 'dumb' }),
  };
  const taken = new Set(env.map((entry) => entry.split('=')[0]));
  return [
    ...env,
    ...Object.entries(own)
      .filter(([name]) => !taken.has(name))
      .map(([name, value]) => `${name}=${value}`),
  ];
}

/** What a system wants empty at each boot, unless the user mounts something there. */
function memoryMounts({ mounts }: Workload, inittab: WorkloadMount | undefined): WorkloadMount[] {
  const taken = new Set(mounts.map(({ target }) => target));
  const memory = (target: string, ...options: string[]): WorkloadMount => ({
    type: 'tmpfs',
    source: '',
    target,
    readOnly: false,
    options,
  });
  return [
    memory('/run', 'exec', 'mode=755'),
    memory('/run/lock', 'mode=1777', 'size=5m'),
    memory('/tmp', 'exec', 'mode=1777'),
    ...(inittab ? [inittab] : []),
  ].filter(({ target }) => !taken.has(target));
}

/**
 * The unified hierarchy alone, writable, and its own part of it: on a host whose controllers are v1's it holds none, so
 * that limits stay with the host.
 */
function ownCgroups(spec: OciSpec, { idMap, cgroupns }: Workload, boots: boolean): void {
  if (cgroupns !== 'private' || !(idMap || boots)) return;
  const own: OciMount = {
    destination: '/sys/fs/cgroup',
    type: 'cgroup2',
    source: 'cgroup2',
    options: ['nosuid', 'noexec', 'nodev', 'relatime', 'rw'],
  };
  spec.mounts = spec.mounts.map((mount) =>
    mount.destination === own.destination && mount.type === 'cgroup' ? own : mount,
  );
}

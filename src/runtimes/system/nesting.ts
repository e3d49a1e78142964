import { stat } from 'node:fs/promises';
import type { DeviceSpec } from '../../engine/model.ts';
import type { Workload } from '../../engine/runtime.ts';
import { isleError } from '../../lib/errors.ts';
import type { OciMount, OciSpec } from '../oci/spec-types.ts';

/**
 * Takes `nesting=…` out of the security options. Throws `invalidParameter` when it is asked for without a user namespace:
 * what nesting opens would be the host's then.
 */
export function takeNesting(workload: Workload): { workload: Workload; nesting: boolean } {
  const options = workload.securityOpt.filter((option) => !/^nesting([=:]|$)/.test(option));
  const said = workload.securityOpt.filter((option) => !options.includes(option)).map(valueOf);
  const nesting = said.at(-1) ?? false;
  if (nesting && !workload.idMap)
    throw isleError('invalidParameter', {
      message: 'nesting=true needs a user namespace: leave out --userns host and --privileged',
    });
  return { workload: { ...workload, securityOpt: options }, nesting };
}

/** What nested containers make use of, where the host has it: file systems in user space and tunnels. */
export async function presentDevices(): Promise<DeviceSpec[]> {
  const there = await Promise.all(
    ['/dev/fuse', '/dev/net/tun'].map(async (path) => {
      const found = await stat(path).catch(() => undefined);
      return found?.isCharacterDevice() ? [{ hostPath: path, containerPath: path, permissions: 'rw' }] : [];
    }),
  );
  return there.flat();
}

/**
 * Lets a container runtime work inside: a user namespace may only mount a proc or sysfs when one is there that nothing
 * hides parts of (mount_too_revealing in fs/namespace.c), and ours have covers. So there is a second one of each, where LXC
 * has them. /proc/sys may be written: the kernel lets this root change what belongs to its own namespaces only.
 */
export function openForNesting(spec: OciSpec): void {
  spec.mounts.push(uncovered('proc', 'proc'), uncovered('sysfs', 'sys'));
  spec.linux.readonlyPaths = spec.linux.readonlyPaths.filter((path) => path !== '/proc/sys');
}

function uncovered(type: string, name: string): OciMount {
  return {
    destination: `/dev/.lxc/${name}`,
    type,
    source: type,
    options: ['nosuid', 'nodev', 'noexec', 'relatime'],
  };
}

function valueOf(option: string): boolean {
  const value = option.replace(/^nesting[=:]?/, '');
  if (value === '' || value === 'true') return true;
  if (value === 'false') return false;
  throw isleError('invalidParameter', {
    message: `invalid --security-opt: "${option}" (true or false)`,
  });
}

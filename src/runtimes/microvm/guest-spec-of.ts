import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import type { Workload } from '../../engine/runtime.ts';
import type { GuestLink } from '../../host/guest-link.ts';
import { isleError } from '../../lib/errors.ts';
import { defaultMaskedPaths, defaultReadonlyPaths } from '../../lib/hidden-paths.ts';
import { checkCommand } from './command-lookup.ts';
import { guestMounts } from './guest-mounts.ts';
import { firstProcess } from './guest-process.ts';
import type { GuestSpec } from './guest-spec.ts';
import { shareTag } from './qemu-command.ts';

/** What the guest is told but the moment: the clock and the randomness are added when it is told. */
export type GuestPlan = Omit<GuestSpec, 'time' | 'seed' | 'links'>;

/**
 * What the guest will be told to run. `root` is the workload's root with its binds, on the host. Throws
 * `commandNotFound`, `commandNotExecutable`, `invalidParameter`.
 */
export async function guestPlanOf(workload: Workload, root: string): Promise<GuestPlan> {
  const mounts = guestMounts(workload);
  const process = await firstProcess(workload, root);
  await checkCommand(root, process, mounts);
  return {
    share: { tag: shareTag, directory: 'root' },
    readonlyRoot: workload.readonlyRootfs,
    hostname: name('hostname', workload.hostname, 64),
    domainname: name('domain name', workload.domainname, 64),
    mounts,
    submounts: workload.mounts
      .filter(({ type, readOnly }) => type === 'bind' && !readOnly)
      .map(({ target }) => posix.normalize(target)),
    maskedPaths: workload.maskedPaths ?? (workload.privileged ? [] : defaultMaskedPaths),
    readonlyPaths: workload.readonlyPaths ?? (workload.privileged ? [] : defaultReadonlyPaths),
    sysctls: sysctlsOf(workload),
    ...pidsLimitOf(workload),
    init: workload.init,
    process,
  };
}

/** The plan with what belongs to this moment. */
export function guestSpecNow(plan: GuestPlan, links: GuestLink[]): GuestSpec {
  return {
    ...plan,
    links,
    time: BigInt(Date.now()) * 1_000_000n,
    seed: randomBytes(64).toString('hex'),
  };
}

/** All are the guest's own: what its kernel does not know fails when it starts. Docker's defaults for networks. */
function sysctlsOf({ sysctls }: Workload): Record<string, string> {
  for (const [key, value] of Object.entries(sysctls)) {
    if (!/^[a-z][\w.@/-]{0,254}$/i.test(key) || key.split(/[./]/).includes(''))
      throw isleError('invalidParameter', { message: `invalid sysctl name "${key}"` });
    if (/[\0\n]/.test(value))
      throw isleError('invalidParameter', { message: `sysctl ${key}: the value must be a single line` });
  }
  return {
    'net.ipv4.ip_unprivileged_port_start': '0',
    'net.ipv4.ping_group_range': '0 2147483647',
    ...sysctls,
  };
}

function pidsLimitOf({ resources: { pidsLimit = 0 } }: Workload): { pidsLimit?: number } {
  return pidsLimit > 0 ? { pidsLimit } : {};
}

function name(what: string, value: string, limit: number): string {
  if (value.length > limit || /[\0\n/]/.test(value))
    throw isleError('invalidParameter', {
      message: `invalid ${what} ${JSON.stringify(value)}: at most ${limit} characters, without "/"`,
    });
  return value;
}

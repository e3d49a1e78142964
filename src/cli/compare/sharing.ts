import { messageOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';
import { capabilityNames } from './capabilities.ts';
import type { Footprint } from './footprint.ts';
import type { Sharing } from './report.ts';

/** What `isle-probe facts` says: native/probe/facts.c. Written inside, by a program whose kernel may lie: checked. */
export interface Facts {
  kernel: string;
  bootId: string;
  lsm: string;
  capabilities: bigint;
  seccomp: string;
  noNewPrivileges: boolean;
  uidMap: [inside: number, outside: number, count: number][];
  namespaces: Record<string, number>;
  devices: string[];
  /** errno by call; 0 for success, -1 where the caller was killed. */
  calls: Record<string, number>;
}

/** GET /isle/v1/host */
export interface HostFacts {
  Kernel: string;
  BootId: string;
  Namespaces: Record<string, number>;
  SecurityModules: string[];
  Cpu: string;
  Kvm: { Usable: boolean; Why?: string };
  /** Processes that ran or wanted to, on average over the last minute. */
  Load: number;
}

export function parseFacts(output: string): Facts {
  try {
    const given = JSON.parse(output) as Record<string, unknown>;
    return {
      kernel: text(given.kernel),
      bootId: text(given.bootId),
      lsm: text(given.lsm ?? ''),
      capabilities: BigInt(`0x${text(given.capabilities)}`),
      seccomp: text(given.seccomp ?? ''),
      noNewPrivileges: given.noNewPrivileges === '1',
      uidMap: list(given.uidMap).map((row) => {
        const [inside, outside, count] = list(row).map(number);
        return [inside ?? 0, outside ?? 0, count ?? 0];
      }),
      namespaces: numbers(given.namespaces),
      devices: list(given.devices).map(text),
      calls: numbers(given.calls),
    };
  } catch (cause) {
    throw new Failure(`the facts from inside cannot be read: ${messageOf(cause)}`, { cause });
  }
}

const EPERM = 1;
const ENOSYS = 38;

/** What the two sides' facts say together. */
export function sharingOf(facts: Facts, host: HostFacts, footprint: Footprint): Sharing {
  const sharesKernel = facts.bootId === host.BootId;
  const root = facts.uidMap.find(([inside]) => inside === 0);
  const tried = Object.entries(facts.calls);
  return {
    kernel: facts.kernel,
    sharesKernel,
    ...(sharesKernel && root && { rootIs: root[1] }),
    hostUsers: [
      ...new Set(footprint.processes.filter(({ monitor }) => !monitor).map(({ uid }) => uid)),
    ].toSorted((a, b) => a - b),
    capabilities: capabilityNames(facts.capabilities),
    sharedNamespaces: sharesKernel
      ? Object.keys(facts.namespaces).filter((name) => facts.namespaces[name] === host.Namespaces[name])
      : [],
    seccomp: seccompModes[facts.seccomp] ?? 'unknown',
    noNewPrivileges: facts.noNewPrivileges,
    securityModule: /^(unconfined|kernel)?$/.test(facts.lsm) ? '' : facts.lsm,
    devices: facts.devices.toSorted(),
    reachableCalls: tried
      .filter(([, errno]) => errno !== EPERM && errno !== ENOSYS && errno !== -1)
      .map(([name]) => name),
    triedCalls: tried.length,
  };
}

const seccompModes: Record<string, Sharing['seccomp']> = { '0': 'none', '1': 'strict', '2': 'filter' };

function text(value: unknown): string {
  if (typeof value !== 'string' || value.length > 1000) throw new Error('not a text');
  return value;
}

function number(value: unknown): number {
  if (typeof value !== 'number') throw new Error('not a number');
  return value;
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value) || value.length > 1000) throw new Error('not a list');
  return value;
}

function numbers(value: unknown): Record<string, number> {
  if (typeof value !== 'object' || value === null) throw new Error('not an object');
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, number(one)]));
}

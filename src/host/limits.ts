import { readFileSync } from 'node:fs';
import { nativeCalls } from './native.ts';

const calls = nativeCalls<{ getRlimitSync(pid: number, resource: number): Buffer }>()('getRlimitSync');

/** Resource limits by the name that `docker run --ulimit` gives them, with their number in prlimit(2). */
export const RLIMITS = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
} as const;

export type RlimitName = keyof typeof RLIMITS;

/** Soft and hard limit; `Infinity` is unlimited. */
export interface Rlimit {
  soft: number;
  hard: number;
}

/** Limits of process `pid`; absent: of this one. */
export function getRlimit(name: RlimitName, pid = 0): Rlimit {
  const raw = calls.getRlimitSync(pid, RLIMITS[name]);
  return { soft: fromKernel(raw.readBigUInt64LE(0)), hard: fromKernel(raw.readBigUInt64LE(8)) };
}

/**
 * The highest hard limit that a process started from this one may be given: the present one, or anything the kernel
 * knows with CAP_SYS_RESOURCE (for `nofile` at most fs.nr_open).
 */
export function highestHardLimit(name: RlimitName): number {
  const present = getRlimit(name).hard;
  if (!hasCapability(CAP_SYS_RESOURCE)) return present;
  if (name !== 'nofile') return Number.POSITIVE_INFINITY;
  return Number(readFileSync('/proc/sys/fs/nr_open', 'utf8'));
}

/** True when this process has the capability (a number of capabilities(7)) in its effective set. */
export function hasCapability(capability: number): boolean {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  return ((effective >> BigInt(capability)) & 1n) === 1n;
}

export const CAP_SYS_RESOURCE = 24;

const UNLIMITED = 0xffff_ffff_ffff_ffffn;

function fromKernel(value: bigint): number {
  return value === UNLIMITED ? Number.POSITIVE_INFINITY : Number(value);
}

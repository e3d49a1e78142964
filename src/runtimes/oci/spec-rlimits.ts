import { readFileSync } from 'node:fs';
import type { Ulimit } from '../../engine/model.ts';
import { isleError } from '../../lib/errors.ts';
import { hostCapabilities } from './spec-capabilities.ts';

/** Name in `--ulimit` → [name in the specification, label in /proc/PID/limits]. */
const limits: Record<string, [string, string]> = {
  core: ['RLIMIT_CORE', 'Max core file size'],
  cpu: ['RLIMIT_CPU', 'Max cpu time'],
  data: ['RLIMIT_DATA', 'Max data size'],
  fsize: ['RLIMIT_FSIZE', 'Max file size'],
  locks: ['RLIMIT_LOCKS', 'Max file locks'],
  memlock: ['RLIMIT_MEMLOCK', 'Max locked memory'],
  msgqueue: ['RLIMIT_MSGQUEUE', 'Max msgqueue size'],
  nice: ['RLIMIT_NICE', 'Max nice priority'],
  nofile: ['RLIMIT_NOFILE', 'Max open files'],
  nproc: ['RLIMIT_NPROC', 'Max processes'],
  rss: ['RLIMIT_RSS', 'Max resident set'],
  rtprio: ['RLIMIT_RTPRIO', 'Max realtime priority'],
  rttime: ['RLIMIT_RTTIME', 'Max realtime timeout'],
  sigpending: ['RLIMIT_SIGPENDING', 'Max pending signals'],
  stack: ['RLIMIT_STACK', 'Max stack size'],
};

/** RLIM_INFINITY, which is no exact number of JavaScript's: written as these digits. */
const infinity = (JSON as unknown as { rawJSON(text: string): number }).rawJSON('18446744073709551615');

/**
 * The asked-for limits. One above this process's own hard limit needs CAP_SYS_RESOURCE; where the host took
 * that away it is refused with the limit's value, instead of failing later without a reason.
 */
export function rlimitsOf(ulimits: Ulimit[]): { type: string; soft: number; hard: number }[] {
  if (ulimits.length === 0) return [];
  const mayRaise = hostCapabilities().has('CAP_SYS_RESOURCE');
  const own = mayRaise ? '' : readFileSync('/proc/self/limits', 'latin1');
  return ulimits.map(({ name, soft, hard }) => {
    const known = limits[name];
    if (!known) throw invalid(`invalid ulimit type: ${name}`);
    const [type, label] = known;
    if (unlimitedOr(soft) > unlimitedOr(hard))
      throw invalid(
        `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard} (${name})`,
      );
    if (!mayRaise && unlimitedOr(hard) > hardLimit(own, label))
      throw invalid(
        `ulimit ${name}=${soft}:${hard} cannot be set: the hard limit here is ${hardLimit(own, label)} and Isle lacks CAP_SYS_RESOURCE to raise it`,
      );
    return { type, soft: toJson(soft), hard: toJson(hard) };
  });
}

function unlimitedOr(value: number): number {
  return value < 0 ? Infinity : value;
}

function toJson(value: number): number {
  return value < 0 ? infinity : value;
}

function hardLimit(table: string, label: string): number {
  const line = table.split('\n').find((row) => row.startsWith(label)) ?? '';
  const hard = line.slice(label.length).trim().split(/\s+/)[1];
  return hard === undefined || hard === 'unlimited' ? Infinity : Number(hard);
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}

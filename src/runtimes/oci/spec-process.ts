import { posix } from 'node:path';
import type { Workload } from '../../engine/runtime.ts';
import { isleError } from '../../lib/errors.ts';
import type { HostLimits } from './host-limits.ts';
import { capabilitySets } from './spec-capabilities.ts';
import { rlimitsOf } from './spec-rlimits.ts';
import type { SecurityOptions } from './spec-security.ts';
import type { OciProcess } from './spec-types.ts';
import type { ContainerUser } from './spec-user.ts';

export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Where the minimal init appears inside: on the tmpfs of /dev, so that the root stays as it is. */
export const initTarget = '/dev/init';

export interface ProcessRequest {
  args: string[];
  env: string[];
  cwd: string;
  tty: boolean;
  hostname?: string;
}

/** The first process of a workload. */
export function processOf(
  workload: Workload,
  user: ContainerUser,
  granted: string[],
  security: SecurityOptions,
  limits: Pick<HostLimits, 'oomScoreAdj' | 'ownOomScoreAdj'>,
): OciProcess {
  const result = baseProcess(workload, user, granted, security);
  if (workload.init) result.args = [initTarget, '--', ...result.args];
  if (workload.size && workload.tty)
    result.consoleSize = { height: workload.size.rows, width: workload.size.columns };
  const rlimits = rlimitsOf(workload.ulimits);
  if (rlimits.length > 0) result.rlimits = rlimits;
  const score = oomScore(workload.oomScoreAdj ?? 0, limits);
  if (score !== 0) result.oomScoreAdj = score;
  return result;
}

/** What the first process and an exec have in common. */
export function baseProcess(
  request: ProcessRequest,
  user: ContainerUser,
  granted: string[],
  security: Pick<SecurityOptions, 'noNewPrivileges' | 'apparmorProfile'>,
): OciProcess {
  if (request.args.length === 0 || request.args[0] === '')
    throw invalid('no command specified: give one, or use an image that has one');
  const result: OciProcess = {
    terminal: request.tty,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: request.args.map((arg) => text('argument', arg)),
    env: environment(request, user),
    cwd: workingDirectory(request.cwd),
    capabilities: capabilitySets(granted, user.uid),
    noNewPrivileges: security.noNewPrivileges,
  };
  if (security.apparmorProfile !== undefined) result.apparmorProfile = security.apparmorProfile;
  return result;
}

/**
 * A clean absolute path. `/proc` is refused: `/proc/self/fd/N` names descriptors that the runtime still holds on
 * the host while it changes directory (CVE-2024-21626). A symbolic link that leads there is caught after
 * create, before the first instruction of the workload runs (`cwd-guard.ts`).
 */
function workingDirectory(cwd: string): string {
  if (cwd === '') return '/';
  const path = posix.normalize(text('working directory', cwd));
  if (!path.startsWith('/'))
    throw invalid(`the working directory "${cwd}" is invalid, it needs to be an absolute path`);
  if (path === '/proc' || path.startsWith('/proc/'))
    throw invalid(`the working directory "${cwd}" is refused: it must not lie in /proc`);
  return path;
}

function environment(request: ProcessRequest, user: ContainerUser): string[] {
  const defaults: [string, string][] = [['PATH', defaultPath]];
  if (request.hostname) defaults.push(['HOSTNAME', request.hostname]);
  if (request.tty) defaults.push(['TERM', 'xterm']);
  defaults.push(['HOME', user.home]);
  const env = request.env
    .map((pair) => text('environment variable', pair))
    .filter((pair) => pair.includes('='));
  const set = new Set(env.map((pair) => pair.slice(0, pair.indexOf('='))));
  return [...defaults.filter(([name]) => !set.has(name)).map(([name, value]) => `${name}=${value}`), ...env];
}

/**
 * The daemon's own is below zero, so that it is killed last; its children must not inherit that. crun takes 0 for
 * "leave it as it is" (linux.c, libcrun_set_oom): 1 is the nearest that it sets.
 */
function oomScore(wanted: number, limits: Pick<HostLimits, 'oomScoreAdj' | 'ownOomScoreAdj'>): number {
  if (!Number.isInteger(wanted) || wanted < -1000 || wanted > 1000)
    throw invalid(`invalid value ${wanted}, range for oom score adj is [-1000, 1000]`);
  if (wanted === 0) return limits.ownOomScoreAdj < 0 ? 1 : 0;
  if (wanted < limits.oomScoreAdj)
    throw invalid(
      `oom score adj ${wanted} cannot be set: Isle lacks CAP_SYS_RESOURCE here and may not go below ${limits.oomScoreAdj}`,
    );
  return wanted;
}

/** Text that reaches an argument list or the environment cannot hold a NUL: it would end there silently. */
function text(what: string, value: string): string {
  if (value.includes('\0')) throw invalid(`${what} contains a NUL byte: ${JSON.stringify(value)}`);
  return value;
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}

import type { Ulimit } from '../../engine/model.ts';
import type { ExecSpec, Workload } from '../../engine/runtime.ts';
import { RLIMITS, type RlimitName } from '../../host/limits.ts';
import { isleError } from '../../lib/errors.ts';
import { allCapabilities, capabilitiesOf } from '../oci/spec-capabilities.ts';
import { baseProcess, type ProcessRequest } from '../oci/spec-process.ts';
import { readRootFile } from '../oci/root-files.ts';
import { parseSecurityOptions } from '../oci/spec-security.ts';
import { lookUpUser } from '../oci/spec-user.ts';
import type { GuestProcess } from './guest-spec.ts';

/** The workload's first process; users are looked up in `root` on the host. */
export async function firstProcess(workload: Workload, root: string): Promise<GuestProcess> {
  const { tty, stdin, size, oomScoreAdj } = workload;
  return {
    ...(await processOf(workload, workload, workload.user, root)),
    tty,
    stdin,
    ...(size && tty ? { size } : {}),
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }),
  };
}

/** Another process in the same guest. */
export async function execProcess(workload: Workload, exec: ExecSpec, root: string): Promise<GuestProcess> {
  const request = { ...exec, hostname: workload.hostname };
  const process = await processOf(workload, request, exec.user, root);
  return {
    ...process,
    ...(exec.privileged ? { capabilities: numbersOf(allCapabilities) } : {}),
    tty: exec.tty,
    stdin: exec.stdin,
    ...(exec.size && exec.tty ? { size: exec.size } : {}),
  };
}

type Common = Omit<GuestProcess, 'tty' | 'stdin' | 'size' | 'oomScoreAdj'>;

async function processOf(
  workload: Workload,
  request: ProcessRequest,
  user: string,
  root: string,
): Promise<Common> {
  const security = parseSecurityOptions(workload.securityOpt, workload.privileged, {
    apparmor: false,
    selinux: false,
  });
  if (typeof security.seccomp === 'object')
    throw invalid('a microVM has a kernel of its own, which knows no seccomp profile of yours: leave it out');
  const granted = capabilitiesOf(workload, new Set(allCapabilities));
  const found = await lookUpUser(user, workload.groupAdd, (path) => readRootFile(root, path));
  const { args, env, cwd, user: ids } = baseProcess(request, found, granted, security);
  return {
    args,
    env,
    cwd,
    uid: ids.uid,
    gid: ids.gid,
    groups: ids.additionalGids,
    capabilities: numbersOf(granted),
    noNewPrivileges: security.noNewPrivileges,
    rlimits: workload.ulimits.map(rlimitOf),
  };
}

function numbersOf(capabilities: string[]): number[] {
  return capabilities.map((name) => allCapabilities.indexOf(name));
}

const infinity = 0xffff_ffff_ffff_ffffn;

/** The guest's kernel has no limits of the host's. */
function rlimitOf({ name, soft, hard }: Ulimit): GuestProcess['rlimits'][number] {
  if (!Object.hasOwn(RLIMITS, name) || name === 'as') throw invalid(`invalid ulimit type: ${name}`);
  const [low, high] = [soft, hard].map((value) => (value < 0 ? infinity : BigInt(value))) as [bigint, bigint];
  if (low > high)
    throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard} (${name})`);
  return { resource: RLIMITS[name as RlimitName], soft: low, hard: high };
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}

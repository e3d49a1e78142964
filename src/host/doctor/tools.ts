import { readFile } from 'node:fs/promises';
import { errnoOf, isIsleError, messageOf } from '../../lib/errors.ts';
import { run } from '../run.ts';
import type { Finding, Status } from './finding.ts';
import { compareVersions, versionIn } from './version.ts';

interface Tool {
  name: string;
  command: string;
  package: string;
  oldest: string;
  why: string;
  missing: Status;
}

export function checkCrun(): Promise<Finding> {
  return checkTool({
    name: 'crun',
    command: 'crun',
    package: 'crun',
    oldest: '1.8',
    why: 'it creates and runs the containers',
    missing: 'fail',
  });
}

export function checkConmon(): Promise<Finding> {
  return checkTool({
    name: 'conmon',
    command: 'conmon',
    package: 'conmon',
    oldest: '2.1',
    why: 'it keeps a container’s output and exit code while the engine is away',
    missing: 'fail',
  });
}

export function checkCatatonit(): Promise<Finding> {
  return checkTool({
    name: 'catatonit',
    command: 'catatonit',
    package: 'catatonit',
    oldest: '0.1',
    why: 'it is the first process of containers run with --init',
    missing: 'warn',
  });
}

/** The version that it says. Only `missing: 'fail'` keeps containers from running. */
export async function checkTool(tool: Tool): Promise<Finding> {
  const { name, why } = tool;
  const advice = `apt-get install ${tool.package} (${tool.oldest} or newer)`;
  try {
    const { stdout, stderr } = await run(tool.command, ['--version']);
    const version = versionIn(stdout) ?? versionIn(stderr);
    if (version === undefined) return { name, status: 'warn', found: 'version unknown', why, advice };
    const old = compareVersions(version, tool.oldest) < 0;
    return old
      ? { name, status: 'warn', found: `${version} (older than ${tool.oldest})`, why, advice }
      : { name, status: 'ok', found: version, why };
  } catch (error) {
    if (!isIsleError(error, 'hostTool')) throw error;
    return { name, status: tool.missing, found: whyNot(error), why, advice };
  }
}

/** Not started: most often because it is not installed. */
function whyNot(error: Error): string {
  return errnoOf(error.cause) === 'ENOENT' ? 'not installed (or not in PATH)' : error.message;
}

const SECCOMP_PROFILE = '/usr/share/containers/seccomp.json';

export async function checkSeccomp(): Promise<Finding> {
  const name = 'seccomp';
  const why = 'without a profile a container may call anything the kernel has';
  const advice = 'apt-get install golang-github-containers-common';
  const actions = await readFile('/proc/sys/kernel/seccomp/actions_avail', 'utf8').catch(() => undefined);
  if (actions === undefined)
    return {
      name,
      status: 'fail',
      found: 'the kernel has no seccomp filters',
      why,
      advice: 'a kernel with CONFIG_SECCOMP_FILTER',
    };
  try {
    const profile: unknown = JSON.parse(await readFile(SECCOMP_PROFILE, 'utf8'));
    const good = typeof profile === 'object' && profile !== null && 'syscalls' in profile;
    if (good) return { name, status: 'ok', found: SECCOMP_PROFILE, why };
    return { name, status: 'fail', found: `${SECCOMP_PROFILE} is no seccomp profile`, why, advice };
  } catch (error) {
    return { name, status: 'fail', found: messageOf(error), why, advice };
  }
}

/** The tool may be there, and the kernel still not carry nf_tables. */
export async function checkNftables(): Promise<Finding> {
  const name = 'nftables';
  const why = 'published ports, NAT and the separation of networks are rules in a table of Isle’s own';
  const advice = 'apt-get install nftables, and a kernel with CONFIG_NF_TABLES (modprobe nf_tables)';
  try {
    const tables = await run('nft', ['list', 'tables']);
    if (tables.code !== 0) return { name, status: 'fail', found: tables.stderr.trim(), why, advice };
    const { stdout } = await run('nft', ['--version']);
    return { name, status: 'ok', found: versionIn(stdout) ?? 'works', why };
  } catch (error) {
    if (!isIsleError(error, 'hostTool')) throw error;
    return { name, status: 'fail', found: whyNot(error), why, advice };
  }
}

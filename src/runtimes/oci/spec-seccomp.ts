import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { isleError, messageOf } from '../../lib/errors.ts';
import type { OciSeccomp, OciSyscall } from './spec-types.ts';

/** Where Debian's golang-github-containers-common keeps the profile that Docker and Podman share. */
export const defaultProfilePath = '/usr/share/containers/seccomp.json';

/** Bytes of a profile that a user may hand over. */
const maxProfile = 1024 * 1024;

interface Profile {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  archMap?: { architecture: string; subArchitectures?: string[] }[];
  flags?: string[];
  syscalls?: ProfileSyscall[];
}

interface ProfileSyscall extends Partial<OciSyscall> {
  name?: string;
  includes?: Condition;
  excludes?: Condition;
}

interface Condition {
  arches?: string[];
  caps?: string[];
  minKernel?: string;
}

export interface SeccompProfiles {
  /** The host's default profile for a workload with `capabilities`, made once for each set of them. */
  default(capabilities: string[]): Promise<OciSeccomp>;
}

export function seccompProfiles(path = defaultProfilePath): SeccompProfiles {
  let profile: Promise<Profile> | undefined;
  const made = new Map<string, OciSeccomp>();
  return {
    async default(capabilities) {
      const key = capabilities.join();
      const known = made.get(key);
      if (known) return known;
      profile ??= readFile(path, 'utf8').then(
        (text) => JSON.parse(text) as Profile,
        (error: unknown) => {
          profile = undefined;
          throw isleError(
            'unavailable',
            { message: `cannot read the seccomp profile ${path}: ${messageOf(error)}; run isle doctor` },
            error,
          );
        },
      );
      const filter = withoutNamespaces(resolveProfile(await profile, capabilities), capabilities);
      if (made.size < 256) made.set(key, filter);
      return filter;
    },
  };
}

/** Parses a profile that a user gave as JSON text (`--security-opt seccomp=FILE`). */
export function customProfile(text: string, capabilities: string[]): OciSeccomp {
  if (text.length > maxProfile) throw invalid(`larger than ${maxProfile} bytes`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw invalid(messageOf(error), error);
  }
  if (!isProfile(parsed)) throw invalid('it needs a defaultAction and a list of syscalls');
  return resolveProfile(parsed, capabilities);
}

/**
 * Applies a profile's conditions (architecture, capabilities, kernel) as Docker's and containers/common's
 * `setupSeccomp` do.
 */
function resolveProfile(profile: Profile, capabilities: string[]): OciSeccomp {
  const { arch, scmp } = architecture();
  const caps = new Set(capabilities);
  const map = profile.archMap?.find((entry) => entry.architecture === scmp);
  const filter: OciSeccomp = {
    defaultAction: profile.defaultAction,
    syscalls: (profile.syscalls ?? [])
      .filter((call) => applies(call, arch, caps))
      .map((call) => ({
        names: call.names ?? (call.name ? [call.name] : []),
        action: call.action ?? 'SCMP_ACT_ALLOW',
        ...(call.errnoRet === undefined ? {} : { errnoRet: call.errnoRet }),
        ...(call.args?.length ? { args: call.args } : {}),
      })),
  };
  if (profile.defaultErrnoRet !== undefined) filter.defaultErrnoRet = profile.defaultErrnoRet;
  if (map) filter.architectures = [map.architecture, ...(map.subArchitectures ?? [])];
  else if (profile.architectures?.length) filter.architectures = profile.architectures;
  if (profile.flags?.length) filter.flags = profile.flags;
  return filter;
}

/** Mounting and making namespaces: what most escapes through the kernel begin with. */
const administrative = new Set([
  'fsconfig',
  'fsmount',
  'fsopen',
  'fspick',
  'keyctl',
  'mount',
  'mount_setattr',
  'move_mount',
  'open_tree',
  'pivot_root',
  'setns',
  'umount',
  'umount2',
  'unshare',
]);

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
const namespaceFlags = 0x7e02_0000;

/**
 * The common profile lets every container make user namespaces, and mount in them; Docker's needs CAP_SYS_ADMIN
 * for that (CVE-2022-0185 and CVE-2022-0492 went that way). As Docker's: also clone only without those flags, and
 * clone3, whose flags a filter cannot see, not at all (ENOSYS, so that libc falls back).
 */
function withoutNamespaces(filter: OciSeccomp, capabilities: string[]): OciSeccomp {
  if (capabilities.includes('CAP_SYS_ADMIN')) return filter;
  const taken = (name: string) => administrative.has(name) || name === 'clone' || name === 'clone3';
  const kept = filter.syscalls.map((call) => ({ ...call, names: call.names.filter((name) => !taken(name)) }));
  return {
    ...filter,
    syscalls: [
      ...kept.filter((call) => call.names.length > 0),
      { names: [...administrative], action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
      {
        names: ['clone'],
        action: 'SCMP_ACT_ALLOW',
        args: [{ index: 0, value: namespaceFlags, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
      },
    ],
  };
}

function applies(call: ProfileSyscall, arch: string, caps: Set<string>): boolean {
  const { includes = {}, excludes = {} } = call;
  if (excludes.arches?.includes(arch)) return false;
  if (excludes.caps?.some((name) => caps.has(name))) return false;
  if (excludes.minKernel !== undefined && kernelAtLeast(excludes.minKernel)) return false;
  if (includes.arches?.length && !includes.arches.includes(arch)) return false;
  if (includes.caps && !includes.caps.every((name) => caps.has(name))) return false;
  return includes.minKernel === undefined || kernelAtLeast(includes.minKernel);
}

function kernelAtLeast(version: string): boolean {
  const wanted = version.split('.').map(Number);
  const running = release().split(/[.-]/).map(Number);
  const [major = 0, minor = 0] = wanted;
  const [runningMajor = 0, runningMinor = 0] = running;
  return runningMajor > major || (runningMajor === major && runningMinor >= minor);
}

function architecture(): { arch: string; scmp: string } {
  return process.arch === 'arm64'
    ? { arch: 'arm64', scmp: 'SCMP_ARCH_AARCH64' }
    : { arch: 'amd64', scmp: 'SCMP_ARCH_X86_64' };
}

function isProfile(value: unknown): value is Profile {
  if (typeof value !== 'object' || value === null || !('defaultAction' in value)) return false;
  if (typeof value.defaultAction !== 'string') return false;
  const syscalls = 'syscalls' in value ? value.syscalls : [];
  return Array.isArray(syscalls) && syscalls.every(isSyscall);
}

function isSyscall(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const call = value as Record<string, unknown>;
  const named = typeof call.name === 'string' || isStrings(call.names);
  return named && (call.action === undefined || typeof call.action === 'string');
}

function isStrings(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function invalid(why: string, cause?: unknown) {
  return isleError('invalidParameter', { message: `invalid seccomp profile: ${why}` }, cause);
}

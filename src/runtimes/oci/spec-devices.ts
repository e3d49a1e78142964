import { readdir, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { DeviceSpec } from '../../engine/model.ts';
import type { Workload } from '../../engine/runtime.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';
import type { OciDevice, OciDeviceRule } from './spec-types.ts';

/**
 * What every container may use: null, zero, full, random, urandom, tty, console and ptmx with its terminals;
 * and mknod of anything (a node one may not open is harmless). Docker's list.
 */
const defaultRules: OciDeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...[
    [1, 3],
    [1, 5],
    [1, 7],
    [1, 8],
    [1, 9],
    [5, 0],
    [5, 1],
    [5, 2],
  ].map(([major = 0, minor = 0]): OciDeviceRule => ({ allow: true, type: 'c', major, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

/** Below /dev, but not devices of the host's: they are mounts of the container's own. */
const notDevices = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev']);

/** Nodes the runtime makes anyway. */
const madeByRuntime = new Set(
  ['null', 'zero', 'full', 'tty', 'random', 'urandom', 'console', 'ptmx'].map((name) => `/dev/${name}`),
);

/** Device nodes to make inside and the device cgroup's rules. */
export async function devicesOf(
  workload: Workload,
): Promise<{ devices: OciDevice[]; rules: OciDeviceRule[] }> {
  // Root of a user namespace is not the host's: it gets the devices that it was given.
  if (workload.privileged && !workload.idMap)
    return { devices: await hostDevices('/dev'), rules: [{ allow: true, access: 'rwm' }] };
  const asked = (await Promise.all(workload.devices.map(resolveDevice))).flat();
  return {
    devices: asked.map(({ device }) => device),
    rules: [
      ...defaultRules,
      ...asked.map(({ device: { type, major, minor }, access }) => ({
        allow: true,
        type,
        major,
        minor,
        access,
      })),
      ...workload.deviceCgroupRules.map(parseRule),
    ],
  };
}

/** The device numbers behind `path`, for limits that name a device. */
export async function deviceNumbers(path: string): Promise<{ major: number; minor: number }> {
  const found = await nodeAt(path, path);
  if (!found) throw invalid(`"${path}" is not a device node`);
  return { major: found.major, minor: found.minor };
}

interface Resolved {
  device: OciDevice;
  access: string;
}

async function resolveDevice(spec: DeviceSpec): Promise<Resolved[]> {
  const access = spec.permissions === '' ? 'rwm' : spec.permissions;
  if (!/^(?!.*(.).*\1)[rwm]{1,3}$/.test(access))
    throw invalid(`invalid device mode "${access}" for ${spec.hostPath}: any of r, w, m`);
  const inside = posix.normalize(spec.containerPath || spec.hostPath);
  if (!inside.startsWith('/') || inside.includes('\0'))
    throw invalid(`invalid device path "${spec.containerPath}" inside the container: it must be absolute`);
  const device = await nodeAt(spec.hostPath, inside);
  if (device) return [{ device, access }];
  const below = await devicesBelow(spec.hostPath, inside);
  if (below.length === 0)
    throw invalid(
      `error gathering device information while adding custom device "${spec.hostPath}": not a device node`,
    );
  return below.map((each) => ({ device: each, access }));
}

/** The node at `hostPath` (a symbolic link is followed), undefined for a directory or plain file. */
async function nodeAt(hostPath: string, inside: string): Promise<OciDevice | undefined> {
  let info: Awaited<ReturnType<typeof stat>>;
  try {
    info = await stat(hostPath);
  } catch (error) {
    throw invalid(
      `error gathering device information while adding custom device "${hostPath}": ${errnoOf(error) === 'ENOENT' ? 'no such file or directory' : errnoOf(error)}`,
      error,
    );
  }
  if (!info.isBlockDevice() && !info.isCharacterDevice()) return undefined;
  return {
    type: info.isBlockDevice() ? 'b' : 'c',
    path: inside,
    ...numbers(info.rdev),
    fileMode: info.mode & 0o777,
    uid: info.uid,
    gid: info.gid,
  };
}

/** glibc's gnu_dev_major and gnu_dev_minor. */
function numbers(rdev: number): { major: number; minor: number } {
  const dev = BigInt(rdev);
  return {
    major: Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn)),
    minor: Number((dev & 0xffn) | ((dev >> 12n) & 0xffff_ff00n)),
  };
}

async function hostDevices(directory: string): Promise<OciDevice[]> {
  const found = await devicesBelow(directory, directory);
  return found.filter((device) => !madeByRuntime.has(device.path));
}

async function devicesBelow(directory: string, inside: string): Promise<OciDevice[]> {
  let entries: Awaited<ReturnType<typeof list>>;
  try {
    entries = await list(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR' || errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  const found = await Promise.all(
    entries
      .filter((entry) => !notDevices.has(entry.name) && !entry.isSymbolicLink())
      .map(async (entry) => {
        const path = join(directory, entry.name);
        const target = posix.join(inside, entry.name);
        if (entry.isDirectory()) return await devicesBelow(path, target);
        if (!entry.isBlockDevice() && !entry.isCharacterDevice()) return [];
        const device = await nodeAt(path, target).catch(() => undefined);
        return device ? [device] : [];
      }),
  );
  return found.flat();
}

async function list(directory: string) {
  return await readdir(directory, { withFileTypes: true });
}

function parseRule(rule: string): OciDeviceRule {
  const match = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(rule);
  if (!match) throw invalid(`invalid device cgroup rule format: "${rule}" (for example "c 10:200 rwm")`);
  const [, type, major, minor, access] = match;
  const parsed: OciDeviceRule = { allow: true, type: type as 'a' | 'b' | 'c', access: access ?? '' };
  if (major !== '*') parsed.major = Number(major);
  if (minor !== '*') parsed.minor = Number(minor);
  return parsed;
}

function invalid(message: string, cause?: unknown) {
  return isleError('invalidParameter', { message }, cause);
}

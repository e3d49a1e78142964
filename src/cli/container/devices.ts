import { parseBytes } from '../../lib/units.ts';
import { Failure } from '../failure.ts';

export interface DeviceMapping {
  PathOnHost: string;
  PathInContainer: string;
  CgroupPermissions: string;
}

export interface DeviceRequest {
  Driver: string;
  Count: number;
  DeviceIDs: string[] | null;
  Capabilities: string[][] | null;
}

/** `--device`: `host[:inside[:permissions]]`, where the second part may be the permissions. */
export function parseDevice(given: string): DeviceMapping {
  const parts = given.split(':');
  const [host = '', second, third] = parts;
  if (parts.length > 3 || host === '') throw new Failure(`invalid device specification: ${given}`);
  let inside = host;
  let permissions = 'rwm';
  if (third !== undefined) {
    if (!isPermissions(third)) throw new Failure(`bad mode specified: ${third}`);
    permissions = third;
  }
  if (second !== undefined && second !== '') {
    if (third === undefined && isPermissions(second)) permissions = second;
    else inside = second;
  }
  return { PathOnHost: host, PathInContainer: inside, CgroupPermissions: permissions };
}

function isPermissions(text: string): boolean {
  return /^[rwm]{1,3}$/.test(text) && new Set(text).size === text.length;
}

/** `vendor.com/class=name`, a device of the Container Device Interface. */
export function isCdiDevice(given: string): boolean {
  return /^[A-Za-z][\w.-]*\/[A-Za-z][\w.-]*=[\w][\w.:-]*$/.test(given);
}

export function parseCgroupRule(given: string): string {
  if (/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(given)) return given;
  throw new Failure(`invalid device cgroup format '${given}'`);
}

function splitDevice(given: string): [path: string, value: string] {
  const at = given.indexOf(':');
  if (at <= 0 || at === given.length - 1) throw new Failure(`bad format: ${given}`);
  const path = given.slice(0, at);
  if (!path.startsWith('/dev/')) throw new Failure(`bad format for device path: ${given}`);
  return [path, given.slice(at + 1)];
}

export function parseWeight(given: string): { Path: string; Weight: number } {
  const [path, value] = splitDevice(given);
  const weight = Number(value);
  if (!/^\d+$/.test(value) || (weight > 0 && (weight < 10 || weight > 1000)))
    throw new Failure(`invalid weight for device: ${given}`);
  return { Path: path, Weight: weight };
}

export interface Throttle {
  Path: string;
  Rate: number;
}

export function parseBytesRate(given: string): Throttle {
  const [path, value] = splitDevice(given);
  try {
    return { Path: path, Rate: parseBytes(value) };
  } catch (cause) {
    throw new Failure(
      `invalid rate for device: ${given}. The correct format is <device-path>:<number>[<unit>]`,
      {
        cause,
      },
    );
  }
}

export function parseCountRate(given: string): Throttle {
  const [path, value] = splitDevice(given);
  if (!/^\d{1,15}$/.test(value))
    throw new Failure(`invalid rate for device: ${given}. The correct format is <device-path>:<number>`);
  return { Path: path, Rate: Number(value) };
}

/** `--gpus all`, `--gpus 2`, `--gpus '"device=0,1",capabilities=utility'`. */
export function parseGpus(given: string): DeviceRequest {
  const request: DeviceRequest = { Driver: '', Count: 0, DeviceIDs: null, Capabilities: [['gpu']] };
  if (given === 'all') return { ...request, Count: -1 };
  if (/^\d+$/.test(given)) return { ...request, Count: Number(given) };
  const device = /^device=(.+)$/.exec(given);
  if (device) return { ...request, DeviceIDs: device[1]!.split(',') };
  throw new Failure(`invalid --gpus: "${given}" (use all, a count, or device=ID,ID)`);
}

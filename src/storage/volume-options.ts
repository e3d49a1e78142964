import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { bindMount, mount, MS } from '../host/mount.ts';
import { isleError, messageOf } from '../lib/errors.ts';

/** `docker volume create --opt type=… --opt o=… --opt device=…`, checked. */
export interface VolumeMount {
  type: string;
  device: string;
  /** As mount(8) writes them, split at the commas. */
  options: string[];
}

const types = new Set(['none', 'bind', 'tmpfs', 'nfs', 'nfs4', 'cifs', 'ext4', 'xfs', 'btrfs']);

const flagBits: Record<string, number> = {
  ro: MS.rdonly,
  nosuid: MS.nosuid,
  nodev: MS.nodev,
  noexec: MS.noexec,
  noatime: MS.noatime,
  relatime: MS.relatime,
};
const plain = new Set(['rw', 'bind', 'rbind', 'suid', 'dev', 'exec', 'async', 'defaults']);

/** Undefined for a plain directory. Throws `invalidParameter` naming the option. */
export function parseVolumeOptions(given: Record<string, string>): VolumeMount | undefined {
  const known = ['type', 'o', 'device'];
  const unknown = Object.keys(given).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    refuse(`volume option "${unknown}" is not known: the driver "local" takes type, o and device`);
  }
  const { type = '', o = '', device = '' } = given;
  if (type === '' && o === '' && device === '') return undefined;
  const options = o === '' ? [] : o.split(',');
  for (const value of [type, device, ...options]) {
    // oxlint-disable-next-line no-control-regex
    if (/[\x00-\x1f]/.test(value)) refuse('volume options may not contain control characters');
  }
  const bind = options.some((option) => option === 'bind' || option === 'rbind') || type === 'bind';
  const kind = bind ? 'bind' : type;
  if (kind === '' || !types.has(kind) || kind === 'none') {
    refuse(
      `volume type "${type}" is not supported: use tmpfs, nfs, nfs4, cifs, ext4, xfs, btrfs, or none with o=bind`,
    );
  }
  if (device === '') refuse(`volume type "${kind}" needs a device`);
  if (kind === 'bind' && !isAbsolute(device)) refuse(`device "${device}" must be an absolute path`);
  return { type: kind, device, options };
}

export async function mountVolume(volume: VolumeMount, target: string, name: string): Promise<void> {
  try {
    if (volume.type === 'bind') return await bindVolume(volume, target);
    const { flags, data } = await splitOptions(volume);
    await mount(volume.device, target, volume.type, flags, data === '' ? null : data);
  } catch (error) {
    const message = `failed to mount local volume ${name} (${volume.type} from ${volume.device}): ${messageOf(error)}`;
    throw isleError('invalidParameter', { message }, error);
  }
}

function bindVolume({ device, options }: VolumeMount, target: string): Promise<void> {
  const has = (option: string): boolean => options.includes(option);
  return bindMount(device, target, {
    recursive: has('rbind'),
    readOnly: has('ro'),
    nosuid: has('nosuid'),
    nodev: has('nodev'),
    noexec: has('noexec'),
  });
}

async function splitOptions({ type, options }: VolumeMount): Promise<{ flags: number; data: string }> {
  let flags = 0;
  const data: string[] = [];
  for (const option of options) {
    const bit = flagBits[option];
    if (bit !== undefined) flags |= bit;
    else if (!plain.has(option)) data.push(await resolved(type, option));
  }
  return { flags, data: data.join(',') };
}

/** The kernel's NFS and CIFS take addresses only: mount.nfs, which is not used here, would look the name up. */
async function resolved(type: string, option: string): Promise<string> {
  if (!/^(nfs4?|cifs)$/.test(type) || !option.startsWith('addr=')) return option;
  const host = option.slice(5);
  return isIP(host) === 0 ? `addr=${(await lookup(host)).address}` : option;
}

function refuse(message: string): never {
  throw isleError('invalidParameter', { message });
}

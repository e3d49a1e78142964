import { isleError } from '../../../lib/errors.ts';
import type { GuestLink, GuestMount, GuestProcess, GuestSpec } from '../guest-spec.ts';
import { maxPayload } from '../protocol.ts';
import { encodeFields, type Fields } from './fields.ts';

/**
 * The payload of `run`. `link` and `mount` begin one each; the fields after it belong to it (`native/guest/spec.c` reads
 * them in this order). Throws `invalidParameter` when a value has a NUL or all of it is longer than a frame.
 */
export function encodeSpec(spec: GuestSpec): Buffer {
  return bounded([
    ['share.tag', spec.share.tag],
    ['share.directory', spec.share.directory],
    ...flag('readonlyRoot', spec.readonlyRoot),
    ['hostname', spec.hostname],
    ['domainname', spec.domainname],
    ...spec.links.flatMap(linkFields),
    ...spec.mounts.flatMap(mountFields),
    ...(spec.submounts ?? []).map((path) => field('submount', path)),
    ...spec.maskedPaths.map((path) => field('masked', path)),
    ...spec.readonlyPaths.map((path) => field('readonly', path)),
    ...Object.entries(spec.sysctls).map(([name, value]) => field('sysctl', `${name}=${value}`)),
    ...flag('init', spec.init),
    ...(spec.pidsLimit === undefined ? [] : [field('pidsLimit', String(spec.pidsLimit))]),
    ['time', String(spec.time)],
    ['seed', spec.seed],
    ...processFields(spec.process),
  ]);
}

/** The payload of `exec`. Throws as {@link encodeSpec}. */
export function encodeProcess(process: GuestProcess, detached: boolean): Buffer {
  return bounded([...flag('detached', detached), ...processFields(process)]);
}

function processFields(process: GuestProcess): Fields {
  // The kernel's sets have 64 bits.
  const capabilities = process.capabilities.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);
  return [
    ...process.args.map((arg) => field('arg', arg)),
    ...process.env.map((variable) => field('env', variable)),
    ['cwd', process.cwd],
    ['uid', String(process.uid)],
    ['gid', String(process.gid)],
    ...process.groups.map((group) => field('group', String(group))),
    ...flag('tty', process.tty),
    ...flag('stdin', process.stdin),
    ...(process.size
      ? [field('columns', String(process.size.columns)), field('rows', String(process.size.rows))]
      : []),
    ['capabilities', capabilities.toString(16)],
    ...flag('noNewPrivileges', process.noNewPrivileges),
    ...process.rlimits.map(({ resource, soft, hard }) => field('rlimit', `${resource} ${soft} ${hard}`)),
    ...(process.oomScoreAdj === undefined ? [] : [field('oomScoreAdj', String(process.oomScoreAdj))]),
  ];
}

function linkFields(link: GuestLink): Fields {
  return [
    ['link', link.macAddress],
    ...(link.bootAddress === undefined ? [] : [field('link.boot', link.bootAddress)]),
    ['link.name', link.name],
    ['link.mtu', String(link.mtu)],
    ...link.addresses.map((address) => field('link.address', address)),
    ...link.routes.map(({ destination, gateway, table }) =>
      field('link.route', `${destination} ${gateway ?? '-'} ${table ?? '-'}`),
    ),
    ...link.neighbours.map(({ address, macAddress }) => field('link.neighbour', `${address} ${macAddress}`)),
    ...Object.entries(link.sysctls).map(([name, value]) => field('link.sysctl', `${name}=${value}`)),
  ];
}

function mountFields(mount: GuestMount): Fields {
  return [
    ['mount', mount.type],
    ['mount.target', mount.target],
    ...mount.options.map((option) => field('mount.option', option)),
  ];
}

function field(name: string, value: string): Fields[number] {
  return [name, value];
}

function flag(name: string, set: boolean): Fields {
  return set ? [[name, '1']] : [];
}

function bounded(fields: Fields): Buffer {
  const payload = encodeFields(fields);
  if (payload.length > maxPayload)
    throw isleError('invalidParameter', {
      message: `the command, its environment and its settings are ${payload.length} bytes: a microVM takes at most ${maxPayload}`,
    });
  return payload;
}

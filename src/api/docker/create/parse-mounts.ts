import { posix } from 'node:path';
import type { MountSpec } from '../../../engine/model.ts';
import { isleError } from '../../../lib/errors.ts';
import { parseBytes } from '../../../lib/units.ts';
import type { Fields } from '../../http/fields.ts';
import { checkVolumeName, parsePropagation, parseTarget } from './mount-checks.ts';
import { parseBind } from './parse-bind.ts';

/** Everything mounted: `Binds`, `Mounts` and `Tmpfs` of HostConfig, `Volumes` of Config. Throws `invalidParameter`. */
export function parseMounts(config: Fields, hostConfig: Fields): MountSpec[] {
  const explicit = [
    ...hostConfig.texts('Binds').map(parseBind),
    ...hostConfig.objects('Mounts').map(parseMount),
    ...Object.entries(hostConfig.textMap('Tmpfs')).map(parseTmpfs),
  ];
  const taken = new Set<string>();
  for (const mount of explicit) {
    if (taken.has(mount.target)) throw invalid(`Duplicate mount point: ${mount.target}`);
    taken.add(mount.target);
  }
  const anonymous = config
    .keys('Volumes')
    .map(anonymousVolume)
    .filter((mount) => !taken.has(mount.target));
  return [...explicit, ...anonymous];
}

/** `docker run -v /data` */
function anonymousVolume(target: string): MountSpec {
  return {
    type: 'volume',
    source: '',
    target: parseTarget(target, `invalid volume specification: '${target}'`),
    readOnly: false,
    origin: 'binds',
  };
}

function parseTmpfs([path, options]: [string, string]): MountSpec {
  const list = options.split(',').filter((option) => option !== '');
  const known =
    /^(size=.+|mode=[0-7]+|uid=\d+|gid=\d+|nr_inodes=.+|nr_blocks=.+|ro|rw|exec|noexec|suid|nosuid|dev|nodev|sync|async|atime|noatime|nodiratime|diratime|relatime|norelatime|strictatime|nostrictatime|dirsync|mand|nomand|private|rprivate|shared|rshared|slave|rslave|unbindable|runbindable)$/;
  for (const option of list)
    if (!known.test(option)) throw invalid(`invalid tmpfs option "${option}" for ${path}`);
  const size = list.find((option) => option.startsWith('size='))?.slice(5);
  if (size !== undefined && !size.endsWith('%')) parseBytes(size);
  return {
    type: 'tmpfs',
    source: '',
    target: parseTarget(path, `invalid mount path: '${path}'`),
    readOnly: list.includes('ro'),
    tmpfs: { options: list },
    origin: 'tmpfs',
  };
}

function parseMount(mount: Fields): MountSpec {
  const type = mount.text('Type');
  const target = parseTarget(mount.text('Target'), `invalid mount config for type "${type}"`);
  const base = { target, readOnly: mount.flag('ReadOnly'), origin: 'mounts' as const };
  checkConsistency(mount);
  switch (type) {
    case 'bind':
      forbid(mount, type, 'VolumeOptions', 'TmpfsOptions', 'ImageOptions');
      return { ...base, type, ...parseBindMount(mount) };
    case 'volume':
      forbid(mount, type, 'BindOptions', 'TmpfsOptions', 'ImageOptions');
      return { ...base, type, ...parseVolumeMount(mount) };
    case 'tmpfs':
      forbid(mount, type, 'BindOptions', 'VolumeOptions', 'ImageOptions');
      return { ...base, type, source: '', ...parseTmpfsMount(mount) };
    case '':
      throw invalid(`invalid mount config for ${target}: field Type must not be empty`);
    case 'image':
      forbid(mount, type, 'BindOptions', 'VolumeOptions', 'TmpfsOptions');
      return { ...base, type, readOnly: true, ...parseImageMount(mount) };
    case 'npipe':
    case 'cluster':
      throw isleError('notImplemented', { what: `a mount of type "${type}" (${target})` });
    default:
      throw invalid(`invalid mount config for ${target}: unknown type "${type}"`);
  }
}

function parseBindMount(mount: Fields): Partial<MountSpec> & { source: string } {
  const source = mount.text('Source');
  if (source === '') throw invalid('invalid mount config for type "bind": field Source must not be empty');
  if (!source.startsWith('/'))
    throw invalid(
      `invalid mount config for type "bind": invalid mount path: '${source}' mount path must be absolute`,
    );
  const options = mount.object('BindOptions');
  if (!options) return { source: posix.normalize(source), createSource: false };
  const nonRecursiveRo = options.flag('ReadOnlyNonRecursive');
  const forceRo = options.flag('ReadOnlyForceRecursive');
  if (nonRecursiveRo && forceRo)
    throw options.invalid('ReadOnlyForceRecursive', 'conflicts with ReadOnlyNonRecursive');
  if ((nonRecursiveRo || forceRo) && !mount.flag('ReadOnly'))
    throw options.invalid(
      nonRecursiveRo ? 'ReadOnlyNonRecursive' : 'ReadOnlyForceRecursive',
      'the mount is not ReadOnly',
    );
  const propagation = parsePropagation(options.text('Propagation'));
  return {
    source: posix.normalize(source),
    createSource: options.flag('CreateMountpoint'),
    ...(propagation && { propagation }),
    ...(options.flag('NonRecursive') && { nonRecursive: true }),
    ...(nonRecursiveRo && { readOnlyNonRecursive: true }),
    ...(forceRo && { readOnlyForceRecursive: true }),
  };
}

function parseVolumeMount(mount: Fields): Partial<MountSpec> & { source: string } {
  const source = mount.text('Source');
  if (source !== '') checkVolumeName(source);
  const options = mount.object('VolumeOptions');
  if (!options) return { source };
  const driver = options.object('DriverConfig');
  const subpath = options.text('Subpath');
  if (subpath !== '' && (subpath.startsWith('/') || subpath.split('/').includes('..')))
    throw options.invalid('Subpath', 'must be a relative path inside the volume');
  return {
    source,
    ...(options.flag('NoCopy') && { noCopy: true }),
    ...(subpath !== '' && { subpath }),
    ...(options.has('Labels') && { labels: options.textMap('Labels') }),
    ...(driver?.optionalText('Name') && { driver: driver.text('Name') }),
    ...(driver?.has('Options') && { driverOptions: driver.textMap('Options') }),
  };
}

function parseImageMount(mount: Fields): Partial<MountSpec> & { source: string } {
  const source = mount.text('Source');
  if (source === '') throw invalid('invalid mount config for type "image": field Source must not be empty');
  const options = mount.object('ImageOptions');
  const subpath = options?.text('Subpath') ?? '';
  if (options && (subpath.startsWith('/') || subpath.split('/').includes('..')))
    throw options.invalid('Subpath', 'must be a relative path inside the image');
  return { source, ...(subpath !== '' && { subpath }) };
}

function parseTmpfsMount(mount: Fields): Partial<MountSpec> {
  if (mount.text('Source') !== '')
    throw invalid('invalid mount config for type "tmpfs": field Source must not be specified');
  const options = mount.object('TmpfsOptions');
  if (!options) return {};
  const size = options.positive('SizeBytes');
  if (size !== undefined && size < 0) throw options.invalid('SizeBytes', 'must not be negative');
  const mode = options.positive('Mode');
  const extra = parseTmpfsOptions(options);
  return {
    tmpfs: {
      ...(size !== undefined && { size }),
      ...(mode !== undefined && { mode }),
      ...(extra.length > 0 && { options: extra }),
    },
  };
}

/** `[["noexec"], ["uid", "1000"]]` */
function parseTmpfsOptions(options: Fields): string[] {
  const value = options.raw('Options');
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw options.invalid('Options', 'must be a list of lists');
  return value.map((pair: unknown) => {
    if (
      !Array.isArray(pair) ||
      pair.length < 1 ||
      pair.length > 2 ||
      !pair.every((part) => typeof part === 'string')
    )
      throw options.invalid('Options', 'each entry must be one or two texts');
    const option = pair.join('=');
    if (!/^(exec|noexec|uid=\d+|gid=\d+|nr_inodes=\d+[kKmMgG]?)$/.test(option))
      throw options.invalid('Options', `"${option}" is not a tmpfs option`);
    return option;
  });
}

function forbid(mount: Fields, type: string, ...names: string[]): void {
  for (const name of names)
    if (mount.has(name))
      throw invalid(`invalid mount config for type "${type}": field ${name} must not be specified`);
}

/** A hint for Docker Desktop that has no effect on Linux. */
function checkConsistency(mount: Fields): void {
  const value = mount.text('Consistency');
  if (!['', 'default', 'consistent', 'cached', 'delegated'].includes(value))
    throw mount.invalid('Consistency', `"${value}" is not known`);
}

function invalid(message: string): Error {
  return isleError('invalidParameter', { message });
}

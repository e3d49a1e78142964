import { resolve } from 'node:path';
import { parseBytes } from '../../lib/units.ts';
import { Failure } from '../failure.ts';
import { parseBoolean } from '../flags.ts';
import { parseCsv } from './csv.ts';

export interface MountBody {
  Type: string;
  Source?: string;
  Target?: string;
  ReadOnly?: boolean;
  Consistency?: string;
  BindOptions?: {
    Propagation?: string;
    NonRecursive?: boolean;
    ReadOnlyNonRecursive?: boolean;
    ReadOnlyForceRecursive?: boolean;
  };
  VolumeOptions?: {
    NoCopy?: boolean;
    Labels?: Record<string, string>;
    Subpath?: string;
    DriverConfig?: { Name?: string; Options?: Record<string, string> };
  };
  TmpfsOptions?: { SizeBytes?: number; Mode?: number };
  ImageOptions?: { Subpath?: string };
}

/** `--mount key=value,…` in full. */
export function parseMount(given: string): MountBody {
  const mount: MountBody = { Type: 'volume' };
  for (const field of parseCsv(given)) setField(mount, field);
  if (mount.Target === undefined) throw new Failure('target is required');
  checkMix(mount);
  const { BindOptions: bind } = mount;
  if (bind?.ReadOnlyForceRecursive) {
    if (!mount.ReadOnly)
      throw new Failure(
        'option bind-recursive=readonly requires option readonly to be specified in conjunction',
      );
    if (bind.Propagation !== 'rprivate')
      throw new Failure(
        'option bind-recursive=readonly requires option bind-propagation=rprivate to be specified in conjunction',
      );
  }
  return mount;
}

function setField(mount: MountBody, field: string): void {
  const at = field.indexOf('=');
  const key = (at < 0 ? field : field.slice(0, at)).toLowerCase();
  const bare = at < 0;
  const value = bare ? 'true' : field.slice(at + 1);
  if (bare && !['readonly', 'ro', 'volume-nocopy', 'bind-nonrecursive'].includes(key))
    throw new Failure(`invalid field '${field}' must be a key=value pair`);
  const truth = () => {
    try {
      return parseBoolean(value);
    } catch (cause) {
      throw new Failure(`invalid value for ${key}: ${value}`, { cause });
    }
  };
  switch (key) {
    case 'type':
      mount.Type = value.toLowerCase();
      return;
    case 'source':
    case 'src':
      mount.Source =
        value === '.' || value.startsWith('./') || value.startsWith('../') ? resolve(value) : value;
      return;
    case 'target':
    case 'dst':
    case 'destination':
      mount.Target = value;
      return;
    case 'readonly':
    case 'ro':
      mount.ReadOnly = truth();
      return;
    case 'consistency':
      mount.Consistency = value.toLowerCase();
      return;
    case 'bind-propagation':
      bindOptions(mount).Propagation = value.toLowerCase();
      return;
    case 'bind-nonrecursive':
      bindOptions(mount).NonRecursive = truth();
      return;
    case 'bind-recursive':
      setRecursion(mount, value);
      return;
    case 'volume-nocopy':
      volumeOptions(mount).NoCopy = truth();
      return;
    case 'volume-subpath':
      volumeOptions(mount).Subpath = value;
      return;
    case 'volume-label':
      setPair((volumeOptions(mount).Labels ??= {}), value);
      return;
    case 'volume-driver':
      driver(mount).Name = value;
      return;
    case 'volume-opt':
      setPair((driver(mount).Options ??= {}), value);
      return;
    case 'image-subpath':
      (mount.ImageOptions ??= {}).Subpath = value;
      return;
    case 'tmpfs-size':
      (mount.TmpfsOptions ??= {}).SizeBytes = parseBytes(value);
      return;
    case 'tmpfs-mode':
      if (!/^[0-7]{1,5}$/.test(value)) throw new Failure(`invalid value for ${key}: ${value}`);
      (mount.TmpfsOptions ??= {}).Mode = Number.parseInt(value, 8);
      return;
    default:
      throw new Failure(`unexpected key '${key}' in '${field}'`);
  }
}

function setRecursion(mount: MountBody, value: string): void {
  const bind = bindOptions(mount);
  if (value === 'enabled') return;
  if (value === 'disabled') bind.NonRecursive = true;
  else if (value === 'writable') bind.ReadOnlyNonRecursive = true;
  else if (value === 'readonly') bind.ReadOnlyForceRecursive = true;
  else
    throw new Failure(
      `invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`,
    );
}

const bindOptions = (mount: MountBody) => (mount.BindOptions ??= {});
const volumeOptions = (mount: MountBody) => (mount.VolumeOptions ??= {});
const driver = (mount: MountBody) => (volumeOptions(mount).DriverConfig ??= {});

function setPair(map: Record<string, string>, pair: string): void {
  const at = pair.indexOf('=');
  const key = at < 0 ? pair : pair.slice(0, at);
  Object.defineProperty(map, key, {
    value: at < 0 ? '' : pair.slice(at + 1),
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

function checkMix(mount: MountBody): void {
  const refuse = (options: string) => {
    throw new Failure(`cannot mix '${options}' options with mount type '${mount.Type}'`);
  };
  if (mount.BindOptions && mount.Type !== 'bind') refuse('bind-*');
  if (mount.VolumeOptions && mount.Type !== 'volume') refuse('volume-*');
  if (mount.ImageOptions && mount.Type !== 'image') refuse('image-*');
  if (mount.TmpfsOptions && mount.Type !== 'tmpfs') refuse('tmpfs-*');
}

/** `-v`: anonymous volumes go to Volumes, everything with a source to Binds, relative host paths made absolute. */
export function sortVolumes(given: readonly string[]): { binds: string[]; volumes: Record<string, object> } {
  const binds: string[] = [];
  const volumes: Record<string, object> = {};
  for (const spec of given) {
    const parts = spec.split(':');
    if (spec === '' || (parts.length > 1 && parts.some((part) => part === '')))
      throw new Failure(`invalid spec: ${spec}: empty section between colons`);
    const [source = '', ...rest] = parts;
    if (rest.length === 0) volumes[source] = {};
    else binds.push([/^\.\.?(\/|$)/.test(source) ? resolve(source) : source, ...rest].join(':'));
  }
  return { binds, volumes };
}

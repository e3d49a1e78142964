import { existsSync, openSync, readSync, closeSync } from 'node:fs';
import { resolve } from 'node:path';
import type { MachineDisk } from '../../engine/machine.ts';
import type { DiskRequest } from '../../engine/machines.ts';
import type { ForeignFormat } from '../../storage/disks.ts';
import { Failure } from '../failure.ts';
import { parseGibibytes } from './memory.ts';
import { SubOptions } from './sub-options.ts';

/** One `--disk`. */
export type AskedDisk =
  | { kind: 'none' }
  | { kind: 'cdrom'; path: string | undefined; target: string | undefined; bootOrder: number | undefined }
  | { kind: 'disk'; request: AskedRequest; bootOrder: number | undefined; notes: string[] };

/** What was not said is the guest's system's to decide. */
export type AskedRequest = Omit<DiskRequest, Unsaid> & Partial<Pick<DiskRequest, Unsaid>>;
type Unsaid = 'bus' | 'discard' | 'cache';

/** virt-install's `--disk`: https://github.com/virt-manager/virt-manager/blob/main/man/virt-install.rst. */
export function parseDisk(given: string): AskedDisk {
  if (given === 'none') return { kind: 'none' };
  const options = new SubOptions(given, 'path');
  const device = options.choice(['disk', 'cdrom', 'floppy', 'lun'], 'device') ?? 'disk';
  const path = options.text('path', 'source.file', 'source_file');
  const target = options.text('target', 'target.dev');
  const bootOrder = options.integer('boot_order', 'boot.order');
  if (device === 'floppy' || device === 'lun')
    throw new Failure(`device=${device} is not supported: take a disk or a cdrom`);
  if (device === 'cdrom') {
    options.ignore('CDs are read-only and on SATA', 'bus', 'readonly', 'target.bus');
    options.end();
    return { kind: 'cdrom', path: path === undefined ? undefined : resolve(path), target, bootOrder };
  }
  const common = readCommon(options);
  const source = readSource(options, path);
  options.refuse('shareable', 'one machine at a time writes a disk');
  options.refuse('encryption', 'encrypt inside of the guest, or the file system below');
  options.refuse('pool', 'Isle keeps disks in a store of its own: say vol=NAME, path=FILE or size=');
  options.ignore(
    'Isle chooses',
    'io',
    'driver.io',
    'sparse',
    'error_policy',
    'driver.name',
    'detect_zeroes',
    'iothread',
    'driver.iothread',
    'driver.queues',
    'startup_policy',
    'address.type',
    'type',
    'logical_block_size',
    'physical_block_size',
    'rotation_rate',
    'geometry',
  );
  options.end();
  return {
    kind: 'disk',
    request: { ...common, ...source, ...(target !== undefined && { target }) },
    bootOrder,
    notes: options.notes,
  };
}

type Common = Pick<AskedRequest, 'readOnly' | 'limits'> &
  Partial<Pick<AskedRequest, 'cache' | 'bus' | 'discard' | 'serial' | 'controller'>>;

function readCommon(options: SubOptions): Common {
  const bus = options.choice(['virtio', 'scsi', 'sata', 'ide', 'nvme'], 'bus', 'target.bus');
  const cache = options.choice(
    ['none', 'writeback', 'writethrough', 'unsafe', 'directsync', 'default'],
    'cache',
    'driver.cache',
  );
  if (cache === 'directsync')
    throw new Failure('cache=directsync is not supported: take none or writethrough');
  const discard = options.choice(['unmap', 'ignore'], 'discard', 'driver.discard');
  const serial = options.text('serial');
  const rate = (name: string) => options.integer(`${name}_sec`, `iotune.${name}_sec`);
  const limits: MachineDisk['limits'] = {};
  const [readBps, writeBps] = [rate('read_bytes'), rate('write_bytes')];
  const [readIops, writeIops] = [rate('read_iops'), rate('write_iops')];
  const [bps, iops] = [rate('total_bytes'), rate('total_iops')];
  if (bps !== undefined || iops !== undefined)
    throw new Failure(
      'total_…_sec is not supported: limit reading and writing apart (read_bytes_sec, write_bytes_sec)',
    );
  if (readBps !== undefined) limits.readBps = readBps;
  if (writeBps !== undefined) limits.writeBps = writeBps;
  if (readIops !== undefined) limits.readIops = readIops;
  if (writeIops !== undefined) limits.writeIops = writeIops;
  return {
    readOnly: options.flag('readonly') ?? false,
    limits,
    ...(cache !== undefined && cache !== 'default' && { cache }),
    ...(bus !== undefined && { bus }),
    ...(discard !== undefined && { discard: discard === 'unmap' }),
    ...(serial !== undefined && { serial }),
  };
}

type Source = Pick<DiskRequest, 'source'> & Partial<Pick<DiskRequest, 'format'>>;

function readSource(options: SubOptions, path: string | undefined): Source {
  const sizeText = options.text('size');
  const size = sizeText === undefined ? undefined : parseGibibytes(sizeText);
  const format = readFormat(options, 'format', 'driver.type');
  const volume = options.text('vol', 'source.volume');
  const backing = options.text('backing_store');
  const backingFormat = readFormat(options, 'backing_format');
  if (volume !== undefined) {
    if (path !== undefined) throw new Failure('say path= or vol=, not both');
    // virt-install's POOL/VOLUME: Isle has one store.
    const disk = volume.slice(volume.lastIndexOf('/') + 1);
    return { source: { kind: 'disk', disk, linked: false, ...(size !== undefined && { size }) } };
  }
  if (backing !== undefined) return overlay(options, backing, backingFormat, size);
  if (path !== undefined) return fromPath(options, path, format, size);
  if (size === undefined) throw new Failure('say size=GIB, path=FILE or vol=DISK');
  return { source: { kind: 'empty', size }, ...keptAs(format) };
}

/** Over a disk of the store it is linked; a file of somebody's own is copied, as it may change or go. */
function overlay(
  options: SubOptions,
  backing: string,
  format: ForeignFormat | undefined,
  size: number | undefined,
): Source {
  const grown = size !== undefined && { size };
  if (!backing.includes('/')) return { source: { kind: 'disk', disk: backing, linked: true, ...grown } };
  options.notes.push(
    `${backing} is copied: a disk can only stand on a disk of Isle's own (backing_store=NAME)`,
  );
  const path = resolve(backing);
  return { source: { kind: 'import', path, format: format ?? formatOf(path), ...grown } };
}

function fromPath(
  options: SubOptions,
  given: string,
  format: ForeignFormat | undefined,
  size: number | undefined,
): Source {
  const path = resolve(given);
  if (!existsSync(path)) {
    if (size === undefined) throw new Failure(`${path}: no such file; with size=GIB a new disk is made`);
    options.notes.push(`the new disk is kept in Isle's own store, not as ${path}`);
    return { source: { kind: 'empty', size }, ...keptAs(format) };
  }
  const is = format ?? formatOf(path);
  if (is === 'qcow2' || is === 'raw') return { source: { kind: 'file', path, format: is } };
  options.notes.push(`${path} is copied: machines run on qcow2 and raw`);
  return { source: { kind: 'import', path, format: is, ...(size !== undefined && { size }) } };
}

function keptAs(format: ForeignFormat | undefined): { format?: MachineDisk['format'] } {
  if (format === undefined) return {};
  if (format === 'qcow2' || format === 'raw') return { format };
  throw new Failure(`a new disk is qcow2 or raw, not ${format}`);
}

/** `--image FILE[,format=qcow2][,size=20]`: copied, never written to. */
export function parseImage(given: string): {
  path: string;
  format: ForeignFormat;
  size?: number;
  digest?: string;
} {
  const options = new SubOptions(given, 'path');
  const path = options.text('path');
  if (path === undefined) throw new Failure('no file: for example debian-12.qcow2');
  const format = readFormat(options, 'format');
  const size = options.text('size');
  const digest = options.text('checksum', 'digest');
  options.end();
  if (/^https?:/i.test(path))
    throw new Failure('a file of the engine’s host is meant: download it first, and say --checksum with it');
  const absolute = resolve(path);
  if (!existsSync(absolute)) throw new Failure(`${absolute}: no such file`);
  return {
    path: absolute,
    format: format ?? formatOf(absolute),
    ...(size !== undefined && { size: parseGibibytes(size) }),
    ...(digest !== undefined && { digest: parseChecksum(digest) }),
  };
}

/** `sha256:HEX`, or the bare hex of a SHA256SUMS or SHA512SUMS file. */
export function parseChecksum(given: string): string {
  const match = /^(?:(sha256|sha512)[:=])?([0-9a-f]+)$/i.exec(given.trim());
  const digits = match?.[2]?.toLowerCase();
  const kind = match?.[1]?.toLowerCase() ?? (digits?.length === 128 ? 'sha512' : 'sha256');
  if (digits === undefined || digits.length !== (kind === 'sha512' ? 128 : 64))
    throw new Failure(`no checksum: "${given}" (sha256:… with 64 digits, or sha512:… with 128)`);
  return `${kind}:${digits}`;
}

const formats: Record<string, ForeignFormat> = {
  qcow2: 'qcow2',
  raw: 'raw',
  vmdk: 'vmdk',
  vdi: 'vdi',
  vhdx: 'vhdx',
  vpc: 'vpc',
  vhd: 'vpc',
  parallels: 'parallels',
  hdd: 'parallels',
};

function readFormat(options: SubOptions, ...names: [string, ...string[]]): ForeignFormat | undefined {
  const given = options.text(...names);
  if (given === undefined) return undefined;
  if (Object.hasOwn(formats, given.toLowerCase())) return formats[given.toLowerCase()];
  throw new Failure(`format must be one of ${Object.keys(formats).join(', ')}, not "${given}"`);
}

/** By its name only. What is in it says nothing: a guest can write any header into a raw disk. */
export function formatOf(path: string): ForeignFormat {
  const suffix = /\.(\w+)$/.exec(path)?.[1]?.toLowerCase();
  if (suffix !== undefined && suffix !== 'hdd' && Object.hasOwn(formats, suffix)) return formats[suffix]!;
  const looks = looksLike(path);
  throw new Failure(
    `cannot tell the format of ${path} by its name: add format=${looks ?? 'raw'}${looks === undefined ? ', or what it is' : ` (it begins as ${looks} does; any guest that wrote to it may have made it so)`}`,
  );
}

/** For a hint to the user, who decides. */
function looksLike(path: string): ForeignFormat | undefined {
  const head = Buffer.alloc(72);
  try {
    const fd = openSync(path, 'r');
    try {
      readSync(fd, head, 0, head.length, 0);
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
  const text = head.toString('latin1');
  if (text.startsWith('QFI\xfb')) return 'qcow2';
  if (text.startsWith('KDMV') || text.startsWith('COWD')) return 'vmdk';
  if (text.startsWith('vhdxfile')) return 'vhdx';
  if (text.startsWith('conectix')) return 'vpc';
  if (text.startsWith('WithoutFreeSpace') || text.startsWith('WithouFreSpacExt')) return 'parallels';
  if (text.slice(64, 68) === '\x7f\x10\xda\xbe') return 'vdi';
  return undefined;
}

import { bounds, wholeNumber } from './bounds.ts';
import { refusal } from './refuse.ts';
import type { Xml } from './xml.ts';

/** The parts of an OVF descriptor (DSP0243) by their ids. Version 0.9 calls them all Section and Content, with a type. */
export interface Envelope {
  files: Map<string, { href: string; gzip: boolean }>;
  disks: Map<string, OvfDisk>;
  system: Xml;
}

export interface OvfDisk {
  /** bytes */
  capacity: number;
  fileRef?: string;
  format: string;
}

export function readEnvelope(envelope: Xml, where: string): Envelope {
  return {
    files: filesOf(envelope, where),
    disks: disksOf(envelope, where),
    system: systemOf(envelope, where),
  };
}

/** By its name, or as version 0.9 writes it. */
export function section(parent: Xml, name: string): Xml | undefined {
  return (
    parent.child(name) ??
    [...parent.children('Section'), ...parent.children('Content')].find((each) =>
      each.attribute('type')?.endsWith(`${name}_Type`),
    )
  );
}

function filesOf(envelope: Xml, where: string): Envelope['files'] {
  const files: Envelope['files'] = new Map();
  for (const file of envelope.child('References')?.children('File') ?? []) {
    const [id, href] = [file.attribute('id'), file.attribute('href')];
    if (!id || !href) throw refusal(where, 'a File of its References has no id or no href');
    if (files.has(id)) throw refusal(where, `two Files have the id "${id}"`);
    if (files.size >= bounds.files) throw refusal(where, `it names more than ${bounds.files} files`);
    if (file.attribute('chunkSize'))
      throw refusal(where, `the file "${href}" comes in chunks: put them together and remove chunkSize`);
    const compression = file.attribute('compression') ?? 'identity';
    if (!['', 'identity', 'gzip'].includes(compression))
      throw refusal(where, `the file "${href}" is compressed with "${compression}", which OVF does not know`);
    files.set(id, { href, gzip: compression === 'gzip' });
  }
  return files;
}

function disksOf(envelope: Xml, where: string): Envelope['disks'] {
  const disks: Envelope['disks'] = new Map();
  for (const disk of section(envelope, 'DiskSection')?.children('Disk') ?? []) {
    const id = disk.attribute('diskId');
    if (!id) throw refusal(where, 'a Disk has no diskId');
    if (disks.has(id)) throw refusal(where, `two Disks have the id "${id}"`);
    if (disks.size >= bounds.files) throw refusal(where, `it has more than ${bounds.files} disks`);
    if (disk.attribute('parentRef'))
      throw refusal(where, `the disk "${id}" stands on another one: export the machine without snapshots`);
    const unit = unitOf(disk.attribute('capacityAllocationUnits'), 1, where);
    const range = { least: 1, most: Math.floor(bounds.diskSize / unit) };
    const capacity = wholeNumber(
      disk.attribute('capacity') ?? '',
      range,
      where,
      `the capacity of disk "${id}"`,
    );
    disks.set(id, {
      capacity: capacity * unit,
      fileRef: disk.attribute('fileRef'),
      format: disk.attribute('format') ?? '',
    });
  }
  return disks;
}

function systemOf(envelope: Xml, where: string): Xml {
  const collection = section(envelope, 'VirtualSystemCollection');
  const parent = collection ?? envelope;
  const systems = [
    ...parent.children('VirtualSystem'),
    ...parent.children('Content').filter((each) => each.attribute('type')?.endsWith('VirtualSystem_Type')),
  ];
  if (systems.length === 0) throw refusal(where, 'it has no virtual machine');
  if (systems.length > 1)
    throw refusal(
      where,
      `it has ${systems.length} virtual machines: export each by itself, Isle takes one at a time`,
    );
  return systems[0]!;
}

const words: Record<string, number> = {
  byte: 1,
  bytes: 1,
  kb: 2 ** 10,
  kilobytes: 2 ** 10,
  mb: 2 ** 20,
  megabytes: 2 ** 20,
  gb: 2 ** 30,
  gigabytes: 2 ** 30,
  tb: 2 ** 40,
  terabytes: 2 ** 40,
};

/** `byte * 2^20`, or the words of older versions. */
export function unitOf(text: string | undefined, byDefault: number, where: string): number {
  if (!text) return byDefault;
  const power = /^\s*bytes?\s*\*\s*(2|10)\s*\^\s*(\d{1,2})\s*$/i.exec(text);
  const unit = power ? Number(power[1]) ** Number(power[2]) : words[text.trim().toLowerCase()];
  if (unit === undefined || unit > 2 ** 50) throw refusal(where, `"${text}" is no unit of OVF`);
  return unit;
}

import type { FileHandle } from 'node:fs/promises';
import { bytesAt, refused, sizeOf } from './bytes.ts';
import { parseVmdkDescriptor, type VmdkDescriptor } from './vmdk-descriptor.ts';

const maxDescriptor = 1024 * 1024;
const sector = 512;

/** Where an extent's data lie. */
const fileTypes = ['FLAT', 'SPARSE', 'VMFS', 'VMFSSPARSE', 'SESPARSE'];

/** A further file that it consists of: a plain name in its own directory, and how many bytes it has to have. */
export interface VmdkPart {
  name: string;
  least: number;
}

export async function inspectVmdk(file: FileHandle): Promise<{ size: number; extents: VmdkPart[] }> {
  const head = await bytesAt(file, 0, 512);
  const magic = head.subarray(0, 4).toString('latin1');
  if (magic === 'KDMV') return { size: await sparse(file, head), extents: [] };
  if (magic === 'COWD') {
    if (head.length < 16) throw refused('it ends within its VMDK header');
    return { size: head.readUInt32LE(12) * sector, extents: [] };
  }
  return described(await bytesAt(file, 0, maxDescriptor));
}

/** One file that holds its own description. */
async function sparse(file: FileHandle, head: Buffer): Promise<number> {
  if (head.length < 79) throw refused('it ends within its VMDK header');
  const version = head.readUInt32LE(4);
  if (version < 1 || version > 3) throw refused(`it is a VMDK of version ${version}: known are 1 to 3`);
  const size = sizeOf(head.readBigUInt64LE(12) * BigInt(sector), 'virtual size');
  const offset = sizeOf(head.readBigUInt64LE(28) * BigInt(sector), 'place of its description');
  const length = sizeOf(head.readBigUInt64LE(36) * BigInt(sector), 'length of its description');
  if (offset > 0) {
    const text = (await bytesAt(file, offset, Math.min(length, maxDescriptor))).toString('latin1');
    checkParent(parseVmdkDescriptor(text));
  }
  return size;
}

/** A text file that names the files of the data. */
function described(text: Buffer): { size: number; extents: VmdkPart[] } {
  if (text.length === maxDescriptor) throw refused('its VMDK description is over 1 MiB');
  const descriptor = parseVmdkDescriptor(text.toString('utf8'));
  if (!text.subarray(0, 256).toString('latin1').includes('# Disk DescriptorFile'))
    throw refused('it is no VMDK: it begins neither as one nor as the description of one');
  checkParent(descriptor);
  if (descriptor.extents.length === 0) throw refused('its VMDK description names no data');
  const parts = new Map<string, number>();
  for (const { type, file, offset, sectors } of descriptor.extents) {
    if (type === 'ZERO') continue;
    if (!fileTypes.includes(type))
      throw refused(`a part of it is of the kind ${type}, which is a device of the host and no file`);
    const name = checkName(file ?? '');
    const least = type === 'FLAT' || type === 'VMFS' ? (offset + sectors) * sector : 0;
    parts.set(name, Math.max(least, parts.get(name) ?? 0));
  }
  const sectors = descriptor.extents.reduce((sum, extent) => sum + extent.sectors, 0);
  return {
    size: sizeOf(BigInt(sectors) * BigInt(sector), 'virtual size'),
    extents: [...parts].map(([name, least]) => ({ name, least })),
  };
}

function checkParent({ hasParent, createType }: VmdkDescriptor): void {
  if (hasParent)
    throw refused(
      'it is a snapshot or linked clone that stands on another VMDK: export or consolidate it first',
    );
  if (/device|RawDeviceMap/i.test(createType))
    throw refused(`it is a ${createType}: a device of the host it comes from, no disk image`);
}

function checkName(name: string): string {
  if (name === '' || name.length > 255 || /[/\\:\0]|^\.\.?$/.test(name))
    throw refused(
      `it names the file ${JSON.stringify(name.slice(0, 200))}: only files in its own directory are read`,
    );
  return name;
}

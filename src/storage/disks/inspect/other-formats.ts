import type { FileHandle } from 'node:fs/promises';
import { bytesAt, cutOff, refused, sizeOf } from './bytes.ts';

/** VirtualBox's. Its first header has been the same since version 1.1. */
export async function inspectVdi(file: FileHandle, length: number): Promise<number> {
  const head = await bytesAt(file, 0, 512);
  if (head.length < 512 || head.readUInt32LE(0x40) !== 0xbeda107f)
    throw refused('it is no VDI: its signature is missing');
  const kind = head.readUInt32LE(0x4c);
  const parent = head.subarray(0x1b8, 0x1c8);
  if (kind === 3 || kind === 4 || parent.some((byte) => byte !== 0))
    throw refused('it is a differencing VDI that stands on another one: clone it in VirtualBox first');
  if (kind !== 1 && kind !== 2) throw refused(`it is a VDI of the unknown kind ${kind}`);
  const end = head.readUInt32LE(0x158) + head.readUInt32LE(0x178) * head.readUInt32LE(0x184);
  if (end > length) throw cutOff(end, length);
  return sizeOf(head.readBigUInt64LE(0x170), 'virtual size');
}

/** Microsoft's VHD: a footer, which dynamic ones repeat at the front. */
export async function inspectVpc(file: FileHandle, length: number): Promise<number> {
  const footer = await bytesAt(file, Math.max(0, length - 512), 512);
  if (footer.length < 512 || footer.subarray(0, 8).toString('latin1') !== 'conectix')
    throw refused('it does not end as a VHD does: it was cut off, or is none');
  const kind = footer.readUInt32BE(60);
  if (kind === 4) throw refused('it is a differencing VHD that stands on another one: merge it first');
  if (kind !== 2 && kind !== 3) throw refused(`it is a VHD of the unknown kind ${kind}`);
  return sizeOf(footer.readBigUInt64BE(48), 'virtual size');
}

/** Parallels' image file (`.hds`). */
export async function inspectParallels(file: FileHandle, length: number): Promise<number> {
  const head = await bytesAt(file, 0, 64);
  const magic = head.subarray(0, 16).toString('latin1');
  if (head.length < 64 || !['WithoutFreeSpace', 'WithouFreSpacExt'].includes(magic))
    throw refused('it is no Parallels disk: its signature is missing');
  const table = 64 + 4 * head.readUInt32LE(32);
  if (table > length) throw cutOff(table, length);
  const sectors = magic === 'WithouFreSpacExt' ? head.readBigUInt64LE(36) : BigInt(head.readUInt32LE(36));
  return sizeOf(sectors * 512n, 'virtual size');
}

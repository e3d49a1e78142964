import { bounds } from './bounds.ts';
import type { Run } from './raw-image.ts';
import { refusal } from './refuse.ts';
import type { ApplianceFile } from './source.ts';

/** The tables of a sparse extent: VMware's hosted ones (`KDMV`) and ESXi's snapshots (`COWD`). Numbers are bytes. */
export interface SparseExtent {
  capacity: number;
  grain: number;
  tableLength: number;
  directoryAt: number;
  /** The embedded descriptor. */
  descriptor?: { at: number; length: number };
  compressed: boolean;
}

const sector = 512;
/** A directory is read in one go; the largest disk in VMware's own grains has two million. */
const mostTables = 4 << 20;
const atEnd = 0xffffffffffffffffn;

/** Undefined when it is none. Throws for one that breaks its rules. */
export async function readSparseHeader(file: ApplianceFile): Promise<SparseExtent | undefined> {
  const head = await file.read(0, 2048);
  const magic = head.toString('latin1', 0, 4);
  if (magic !== 'KDMV' && magic !== 'COWD') return undefined;
  if (head.length < 2048 && magic === 'COWD') throw refusal(file.name, 'it is cut short in its header');
  if (head.length < 512) throw refusal(file.name, 'it is cut short in its header');
  const extent = magic === 'KDMV' ? hosted(head) : esxi(head);
  const { capacity, grain, tableLength } = extent;
  const entries = tableLength / 4;
  const wrong =
    !(capacity > 0 && capacity <= bounds.diskSize) ||
    !(grain >= sector && grain <= 64 << 20 && Number.isInteger(Math.log2(grain))) ||
    !(entries > 0 && entries <= 65_536) ||
    capacity / (entries * grain) > mostTables;
  if (wrong) throw refusal(file.name, `its header makes no sense (${capacity} bytes in grains of ${grain})`);
  return extent;
}

function hosted(head: Buffer): SparseExtent {
  const sectors = (at: number): number => Number(head.readBigUInt64LE(at)) * sector;
  const flags = head.readUInt32LE(8);
  const directory = head.readBigUInt64LE(56);
  return {
    capacity: sectors(12),
    grain: sectors(20),
    tableLength: head.readUInt32LE(44) * 4,
    directoryAt: directory === atEnd ? -1 : sectors(56),
    ...(head.readBigUInt64LE(28) !== 0n && { descriptor: { at: sectors(28), length: sectors(36) } }),
    compressed: (flags & 0x10000) !== 0 || directory === atEnd,
  };
}

function esxi(head: Buffer): SparseExtent {
  return {
    capacity: head.readUInt32LE(12) * sector,
    grain: head.readUInt32LE(16) * sector,
    tableLength: 4096 * 4,
    directoryAt: head.readUInt32LE(20) * sector,
    compressed: false,
  };
}

/** Every grain that it holds, from `to` on in the disk. Throws for tables that lead out of the file: it is cut short. */
export async function* sparseRuns(
  file: ApplianceFile,
  extent: SparseExtent,
  to: number,
): AsyncGenerator<Run> {
  const { capacity, grain, tableLength, directoryAt } = extent;
  if (extent.compressed)
    throw refusal(file.name, 'it is compressed, and one of several files: convert it with qemu-img first');
  const covered = (tableLength / 4) * grain;
  const tables = Math.ceil(capacity / covered);
  const directory = await inFile(file, directoryAt, tables * 4);
  for (let index = 0; index < tables; index++) {
    const tableAt = directory.readUInt32LE(index * 4) * sector;
    if (tableAt === 0) continue;
    const table = await inFile(file, tableAt, tableLength);
    const base = index * covered;
    for (let entry = 0; entry < tableLength / 4; entry++) {
      const at = base + entry * grain;
      if (at >= capacity) break;
      const value = table.readUInt32LE(entry * 4);
      if (value === 0) continue;
      const length = Math.min(grain, capacity - at);
      if (value === 1) {
        yield { to: to + at, length, zero: true };
        continue;
      }
      const from = value * sector;
      if (from + length > file.size) throw cutShort(file, from + length);
      yield { to: to + at, length, from };
    }
  }
}

async function inFile(file: ApplianceFile, at: number, length: number): Promise<Buffer> {
  if (at < 0 || at + length > file.size) throw cutShort(file, at + length);
  const content = await file.read(at, length);
  if (content.length < length) throw cutShort(file, at + length);
  return content;
}

function cutShort(file: ApplianceFile, wanted: number): Error {
  return refusal(
    file.name,
    `it is cut short or damaged: its tables lead to byte ${wanted}, it has ${file.size}`,
  );
}

import type { FileHandle } from 'node:fs/promises';
import { bytesAt, refused, sizeOf } from './bytes.ts';

/** Identifiers as they lie in the file: MS-VHDX 2.2.3 and 2.6. */
const metadataRegion = '06a27c8b90479a4bb8fe575f050f886e';
const fileParameters = '3767a1ca36fa434db3b633f0aa44e76b';
const virtualSize = '2442a52f1bcd7648b2115dbed83bf4b8';
const maxEntries = 2047;

/** Hyper-V's. Returns the guest's bytes; refuses one that stands on another. */
export async function inspectVhdx(file: FileHandle): Promise<number> {
  const head = await bytesAt(file, 0, 8);
  if (head.toString('latin1') !== 'vhdxfile') throw refused('it is no VHDX: its signature is missing');
  const metadata = await metadataPlace(file);
  const table = await bytesAt(file, metadata, 32 + 32 * maxEntries);
  if (table.length < 32 || table.subarray(0, 8).toString('latin1') !== 'metadata')
    throw refused('its VHDX metadata are missing (is it cut off?)');
  let size: number | undefined;
  for (let i = 0; i < Math.min(table.readUInt16LE(10), maxEntries); i++) {
    const entry = table.subarray(32 + 32 * i, 64 + 32 * i);
    if (entry.length < 32) throw refused('its VHDX metadata are cut off');
    const name = entry.subarray(0, 16).toString('hex');
    const value = () => bytesAt(file, metadata + entry.readUInt32LE(16), 8);
    if (name === fileParameters) await checkParameters(await value());
    if (name === virtualSize) {
      const bytes = await value();
      if (bytes.length === 8) size = sizeOf(bytes.readBigUInt64LE(), 'virtual size');
    }
  }
  if (size === undefined) throw refused('its VHDX metadata do not say how large it is');
  return size;
}

async function metadataPlace(file: FileHandle): Promise<number> {
  for (const position of [192 * 1024, 256 * 1024]) {
    const regions = await bytesAt(file, position, 16 + 32 * maxEntries);
    if (regions.length < 16 || regions.subarray(0, 4).toString('latin1') !== 'regi') continue;
    for (let i = 0; i < Math.min(regions.readUInt32LE(8), maxEntries); i++) {
      const entry = regions.subarray(16 + 32 * i, 48 + 32 * i);
      if (entry.length === 32 && entry.subarray(0, 16).toString('hex') === metadataRegion)
        return sizeOf(entry.readBigUInt64LE(16), 'place of its metadata');
    }
  }
  throw refused('its VHDX region table is missing (is it cut off?)');
}

async function checkParameters(bytes: Buffer): Promise<void> {
  if (bytes.length < 8) throw refused('its VHDX metadata are cut off');
  if (bytes.readUInt32LE(4) & 2)
    throw refused('it is a differencing VHDX that stands on another one: merge it in Hyper-V first');
}

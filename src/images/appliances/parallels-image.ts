import { bounds } from './bounds.ts';
import type { Run } from './raw-image.ts';
import { refusal } from './refuse.ts';
import type { ApplianceFile } from './source.ts';

/** An expanding disk of Parallels: https://github.com/qemu/qemu/blob/master/docs/interop/parallels.txt. Numbers are bytes. */
export interface ParallelsHeader {
  size: number;
  cluster: number;
  entries: number;
  /** What an entry of the table counts. */
  unit: number;
}

const sector = 512;

/** Throws for what is none, and for one that is cut short. */
export async function readParallelsHeader(file: ApplianceFile): Promise<ParallelsHeader> {
  const head = await file.read(0, 64);
  const magic = head.toString('latin1', 0, 16);
  const old = magic === 'WithoutFreeSpace';
  if (head.length < 64 || (!old && magic !== 'WithouFreSpacExt'))
    throw refusal(file.name, 'it is no expanding disk of Parallels (if it is a plain one, say --format raw)');
  const cluster = head.readUInt32LE(28) * sector;
  const entries = head.readUInt32LE(32);
  const sectors = old ? head.readUInt32LE(36) : Number(head.readBigUInt64LE(36));
  const header = { size: sectors * sector, cluster, entries, unit: old ? sector : cluster };
  const sound =
    header.size > 0 &&
    header.size <= bounds.diskSize &&
    cluster >= sector &&
    cluster <= 1 << 28 &&
    entries * 4 <= file.size;
  if (!sound || entries * cluster < header.size || entries > header.size / cluster + 1)
    throw refusal(
      file.name,
      `its header makes no sense (${header.size} bytes in ${entries} blocks of ${cluster})`,
    );
  // QEMU reads zeros where the file has ended.
  for await (const _ of parallelsRuns(file, header, 0));
  return header;
}

/** Every block that it holds, from `to` on in the disk. */
export async function* parallelsRuns(
  file: ApplianceFile,
  header: ParallelsHeader,
  to: number,
): AsyncGenerator<Run> {
  const { size, cluster, entries, unit } = header;
  for (let start = 0; start < entries; start += mapPiece) {
    const count = Math.min(mapPiece, entries - start);
    const map = await file.read(64 + start * 4, count * 4);
    if (map.length < count * 4) throw refusal(file.name, 'it is cut short in its block map');
    for (let index = 0; index < count; index++) {
      const from = map.readUInt32LE(index * 4) * unit;
      const at = (start + index) * cluster;
      const length = Math.min(cluster, size - at);
      if (from === 0 || length <= 0) continue;
      if (from + length > file.size)
        throw refusal(
          file.name,
          `it is cut short: its block map leads to byte ${from + length}, it has ${file.size}`,
        );
      yield { to: to + at, length, from };
    }
  }
}

const mapPiece = 1 << 18;

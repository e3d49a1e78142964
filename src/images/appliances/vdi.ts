import { bounds } from './bounds.ts';
import type { Run } from './raw-image.ts';
import { refusal } from './refuse.ts';
import type { ApplianceFile } from './source.ts';

/** VirtualBox's disks: https://forums.virtualbox.org/viewtopic.php?t=8046. Numbers are bytes. */
export interface VdiHeader {
  size: number;
  block: number;
  blocks: number;
  allocated: number;
  mapAt: number;
  dataAt: number;
  id: string;
  /** Of the disk that it holds the changes to. */
  parent?: string;
}

export async function readVdiHeader(file: ApplianceFile): Promise<VdiHeader> {
  const head = await file.read(0, 512);
  if (head.length < 512 || head.readUInt32LE(64) !== 0xbeda107f)
    throw refusal(file.name, 'it is no VDI disk');
  const parent = uuidAt(head, 424);
  const header = {
    size: Number(head.readBigUInt64LE(368)),
    block: head.readUInt32LE(376),
    blocks: head.readUInt32LE(384),
    allocated: head.readUInt32LE(388),
    mapAt: head.readUInt32LE(340),
    dataAt: head.readUInt32LE(344),
    id: uuidAt(head, 392),
    ...((head.readUInt32LE(76) === 4 || !/^[0-]+$/.test(parent)) && { parent }),
  };
  const { size, block, blocks, allocated, dataAt } = header;
  const sound =
    size > 0 && size <= bounds.diskSize && block >= 512 && block <= 1 << 28 && blocks * block >= size;
  if (!sound || blocks > size / block + 1)
    throw refusal(file.name, `its header makes no sense (${size} bytes in ${blocks} blocks of ${block})`);
  if (allocated > blocks || dataAt + allocated * block > file.size)
    throw refusal(
      file.name,
      `it is cut short: its ${allocated} blocks end at byte ${dataAt + allocated * block}, it has ${file.size}`,
    );
  return header;
}

/** Every block that it holds. */
export async function* vdiRuns(file: ApplianceFile, header: VdiHeader): AsyncGenerator<Run> {
  const { size, block, blocks, mapAt, dataAt } = header;
  for (let start = 0; start < blocks; start += mapPiece) {
    const count = Math.min(mapPiece, blocks - start);
    const map = await file.read(mapAt + start * 4, count * 4);
    if (map.length < count * 4) throw refusal(file.name, 'it is cut short in its block map');
    for (let index = 0; index < count; index++) {
      const entry = map.readUInt32LE(index * 4);
      const to = (start + index) * block;
      const length = Math.min(block, size - to);
      if (length <= 0 || entry === 0xffffffff) continue;
      if (entry === 0xfffffffe) {
        yield { to, length, zero: true };
        continue;
      }
      const from = dataAt + entry * block;
      if (from + length > file.size)
        throw refusal(file.name, `its block map leads to byte ${from + length}, it has ${file.size}`);
      yield { to, length, from };
    }
  }
}

const mapPiece = 1 << 18;

/** As they stand in files of Windows and VirtualBox: three parts little-endian, two as they are. */
function uuidAt(bytes: Buffer, at: number): string {
  const part = (from: number, to: number): string => bytes.subarray(at + from, at + to).toString('hex');
  const turned = (from: number, to: number): string =>
    Buffer.from(bytes.subarray(at + from, at + to))
      .reverse()
      .toString('hex');
  return `${turned(0, 4)}-${turned(4, 6)}-${turned(6, 8)}-${part(8, 10)}-${part(10, 16)}`;
}

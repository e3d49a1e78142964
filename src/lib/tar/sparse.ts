import { blockSize, TarError } from './entry.ts';
import { parseDecimal, parseNumber } from './numbers.ts';

/** More data segments than this in one file are refused: the map is kept in memory. */
const segmentLimit = 200_000;

/** Checks that segments ascend, do not overlap and lie within `size`; drops empty ones. */
export function checkSparse(map: number[], size: number): number[] {
  const checked: number[] = [];
  let last = 0;
  for (let i = 0; i + 1 < map.length; i += 2) {
    const offset = map[i]!;
    const length = map[i + 1]!;
    if (offset < last || offset + length > size) throw new TarError('a sparse map is malformed');
    last = offset + length;
    if (length > 0) checked.push(offset, length);
  }
  return checked;
}

/** Bytes that the segments of a map have in the archive. */
export function sparseLength(map: number[]): number {
  let total = 0;
  for (let i = 1; i < map.length; i += 2) total += map[i]!;
  return total;
}

/** Old GNU format: pairs of 12-byte numbers in a header or in an extension block. */
export function parseOldSparse(block: Buffer, start: number, count: number, into: number[]): void {
  for (let i = 0; i < count; i++) {
    const at = start + i * 24;
    if (block[at] === 0 || block[at + 12] === 0) return;
    into.push(
      parseNumber(block, at, 12, 'a sparse offset'),
      parseNumber(block, at + 12, 12, 'a sparse length'),
    );
    boundSegments(into);
  }
}

/** PAX 0.1: `offset,length,offset,length`. */
export function parseSparseList(text: string): number[] {
  const numbers = text === '' ? [] : text.split(',');
  if (numbers.length % 2 !== 0) throw new TarError('a sparse map is malformed');
  const map = numbers.map((number) => parseDecimal(number, 'a sparse map'));
  boundSegments(map);
  return map;
}

/** PAX 1.0: the map leads the content as lines of decimal numbers, padded to a block. */
export function parseSparsePrefix(content: Buffer): { map: number[]; length: number } {
  const map: number[] = [];
  const segments = sparseSegments(content);
  let at = content.indexOf(0x0a) + 1;
  while (map.length < segments * 2) {
    const end = content.indexOf(0x0a, at);
    map.push(parseDecimal(content.toString('latin1', at, Math.max(at, end)), 'a sparse map'));
    at = end + 1;
  }
  return { map, length: Math.ceil(at / blockSize) * blockSize };
}

/** Number of segments, from the first line of such a map. */
export function sparseSegments(content: Buffer): number {
  const end = content.indexOf(0x0a);
  const segments = parseDecimal(
    content.toString('latin1', 0, Math.max(0, Math.min(end, 20))),
    'a sparse map',
  );
  if (segments > segmentLimit) throw new TarError('a sparse map has too many segments');
  return segments;
}

/** Old GNU format: the size of the file once extracted. */
export function oldRealSize(header: Buffer): number {
  return parseNumber(header, 483, 12, 'the size of a sparse file');
}

function boundSegments(map: number[]): void {
  if (map.length > segmentLimit * 2) throw new TarError('a sparse map has too many segments');
}

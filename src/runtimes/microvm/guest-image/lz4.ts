const legacyMagic = 0x184c2102;
/** Every block of the legacy format but the last has this many bytes when it is undone. */
const blockSize = 8 * 1024 * 1024;

/**
 * Undoes the "legacy" frame of LZ4, which Linux packs kernels in: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 * Throws when the data is damaged or longer than `limit` bytes.
 */
export function decompressLz4Legacy(data: Buffer, limit: number): Buffer {
  if (data.length < 4 || data.readUInt32LE(0) !== legacyMagic) throw new Error('it is no legacy LZ4 frame');
  const blocks: Buffer[] = [];
  let total = 0;
  for (let at = 4; at + 4 <= data.length; ) {
    const size = data.readUInt32LE(at);
    at += 4;
    // Frames may follow one another.
    if (size === legacyMagic) continue;
    if (size === 0 || at + size > data.length) break;
    const block = decompressBlock(data.subarray(at, at + size));
    at += size;
    total += block.length;
    if (total > limit) throw new Error(`its kernel is larger than ${limit} bytes`);
    blocks.push(block);
  }
  return Buffer.concat(blocks, total);
}

/**
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
 *
 * The position is a property of an object, not a variable that a closure shares: V8 14's Maglev keeps such a variable in a
 * register across the loop where the closure has moved it on (see the flag in src/cli/root.ts), and a kernel came out damaged.
 */
function decompressBlock(bytes: Buffer): Buffer {
  const target = Buffer.allocUnsafe(blockSize);
  const source: Source = { bytes, at: 0 };
  let written = 0;
  while (source.at < bytes.length) {
    const token = byteOf(source);
    const literals = lengthOf(source, token >> 4);
    if (source.at + literals > bytes.length || written + literals > blockSize) damaged();
    bytes.copy(target, written, source.at, source.at + literals);
    source.at += literals;
    written += literals;
    if (source.at >= bytes.length) break;
    const offset = byteOf(source) | (byteOf(source) << 8);
    const length = lengthOf(source, token & 15) + 4;
    if (offset === 0 || offset > written || written + length > blockSize) damaged();
    copyMatch(target, written, offset, length);
    written += length;
  }
  return target.subarray(0, written);
}

interface Source {
  bytes: Buffer;
  at: number;
}

function byteOf(source: Source): number {
  return source.bytes[source.at++] ?? damaged();
}

/** Four bits, or fifteen and as many bytes as go on. */
function lengthOf(source: Source, start: number): number {
  let length = start;
  if (start < 15) return length;
  for (;;) {
    const byte = byteOf(source);
    length += byte;
    if (byte !== 255) return length;
  }
}

/** A match may overlap what it makes: then it repeats. */
function copyMatch(target: Buffer, written: number, offset: number, length: number): void {
  if (offset >= length) target.copyWithin(written, written - offset, written - offset + length);
  else for (let at = written; at < written + length; at++) target[at] = target[at - offset]!;
}

function damaged(): never {
  throw new Error('its LZ4 data is damaged');
}

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

/** https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md */
function decompressBlock(source: Buffer): Buffer {
  const target = Buffer.allocUnsafe(blockSize);
  let read = 0;
  let written = 0;
  const lengthFrom = (start: number): number => {
    let length = start;
    if (start < 15) return length;
    let byte: number;
    do {
      byte = source[read++] ?? damaged();
      length += byte;
    } while (byte === 255);
    return length;
  };
  while (read < source.length) {
    const token = source[read++]!;
    const literals = lengthFrom(token >> 4);
    if (read + literals > source.length || written + literals > blockSize) damaged();
    source.copy(target, written, read, read + literals);
    read += literals;
    written += literals;
    if (read >= source.length) break;
    const offset = (source[read] ?? damaged()) | ((source[read + 1] ?? damaged()) << 8);
    read += 2;
    const length = lengthFrom(token & 15) + 4;
    if (offset === 0 || offset > written || written + length > blockSize) damaged();
    copyMatch(target, written, offset, length);
    written += length;
  }
  return target.subarray(0, written);
}

/** A match may overlap what it makes: then it repeats. */
function copyMatch(target: Buffer, written: number, offset: number, length: number): void {
  if (offset >= length) target.copyWithin(written, written - offset, written - offset + length);
  else for (let at = written; at < written + length; at++) target[at] = target[at - offset]!;
}

function damaged(): never {
  throw new Error('its LZ4 data is damaged');
}

import { decompressed } from '../../../lib/decompress.ts';
import { hasPvhEntry } from '../../../lib/elf.ts';
import { decompressLz4Legacy } from './lz4.ts';

/** Larger than any kernel: what undoes to more is a bomb. */
const limit = 512 * 1024 * 1024;

export interface KernelImage {
  data: Buffer;
  /** It is an ELF file with a PVH entry: QEMU starts it without a decompressor in the guest. */
  pvh: boolean;
  /** As `uname -r` says, where the file tells. */
  version: string;
}

/**
 * The kernel to give to QEMU: the ELF inside of a bzImage where it can be taken out and has a PVH entry, else the file as it
 * is. Throws when it is no kernel at all.
 */
export async function readKernelImage(data: Buffer): Promise<KernelImage> {
  if (hasPvhEntry(data)) return { data, pvh: true, version: elfVersion(data) };
  if (isArm64Image(data)) return { data, pvh: false, version: '' };
  const payload = bzImagePayload(data);
  if (!payload)
    throw new Error('it is neither a bzImage, nor an arm64 Image, nor an ELF file with a PVH entry');
  const version = bzImageVersion(data);
  const elf = await undone(payload);
  return elf && hasPvhEntry(elf) ? { data: elf, pvh: true, version } : { data, pvh: false, version };
}

/** https://docs.kernel.org/arch/x86/boot.html: protocol 2.08 or later says where the packed kernel is. */
function bzImagePayload(data: Buffer): Buffer | undefined {
  if (data.length < 0x264 || data.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined;
  const setupSectors = data[0x1f1] || 4;
  const start = (setupSectors + 1) * 512 + data.readUInt32LE(0x248);
  return data.subarray(start, start + data.readUInt32LE(0x24c));
}

function bzImageVersion(data: Buffer): string {
  const start = data.readUInt16LE(0x20e) + 0x200;
  return firstWord(data.toString('latin1', start, start + 200));
}

function elfVersion(data: Buffer): string {
  const banner = 'Linux version ';
  const start = data.indexOf(banner, 0, 'latin1');
  return start === -1 ? '' : firstWord(data.toString('latin1', start + banner.length, start + 200));
}

function firstWord(text: string): string {
  return /^[\w.+~-]{1,100}/.exec(text)?.[0] ?? '';
}

/** https://docs.kernel.org/arch/arm64/booting.html; QEMU undoes its gzip form itself. */
function isArm64Image(data: Buffer): boolean {
  return data.length >= 64 && (data.readUInt32LE(0x38) === 0x644d5241 || data.readUInt16BE(0) === 0x1f8b);
}

/** Undefined for a compression that is not known here: the guest then undoes it itself, as on any machine. */
async function undone(payload: Buffer): Promise<Buffer | undefined> {
  try {
    if (payload.readUInt32BE(0) === 0x02214c18) return decompressLz4Legacy(payload, limit);
    const gzip = payload.readUInt16BE(0) === 0x1f8b;
    // Linux appends the size of what it packed; gzip has it anyway.
    return await collect(decompressed(once(gzip ? payload : payload.subarray(0, -4))));
  } catch {
    return undefined;
  }
}

async function* once(data: Buffer): AsyncGenerator<Buffer> {
  yield data;
}

async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of source) {
    size += piece.length;
    if (size > limit) throw new Error('the kernel is too large');
    pieces.push(piece);
  }
  return Buffer.concat(pieces, size);
}

/** A module or kernel file as it is or packed. Throws when it is damaged or too large. */
export async function unpackFile(data: Buffer): Promise<Buffer> {
  return await collect(decompressed(once(data)));
}

/** What a qcow2 file says at its beginning: https://www.qemu.org/docs/master/interop/qcow2.html */
export interface Qcow2Header {
  /** bytes the guest sees */
  size: number;
  /** Only a name: nothing says that it is there, or what it is. */
  backing?: { name: string; format?: string };
}

/** Bytes of the beginning that are needed. */
export const qcow2HeaderBytes = 65_536;

/** Incompatible features that change nothing about what is read: dirty refcounts, the kind of compression, extended L2 entries. */
const harmless = 0b1_1001n;

const backingFormat = 0xe2792aca;

/** Throws an Error that says why `start` does not begin a qcow2 image that stands by itself or on one other file. */
export function readQcow2Header(start: Buffer): Qcow2Header {
  if (start.length < 104 || start.readUInt32BE(0) !== 0x514649fb) throw new Error('it is not a qcow2 image');
  const version = start.readUInt32BE(4);
  if (version !== 3) throw new Error(`it is a qcow2 image of version ${version}`);
  if (start.readUInt32BE(32) !== 0) throw new Error('it is encrypted');
  const features = start.readBigUInt64BE(72);
  if ((features & ~harmless) !== 0n)
    throw new Error('it is marked as damaged, or keeps its data in another file');
  const size = Number(start.readBigUInt64BE(24));
  const [offset, length] = [Number(start.readBigUInt64BE(8)), start.readUInt32BE(16)];
  if (offset === 0) return { size };
  if (length > 1023 || offset + length > start.length)
    throw new Error('the name of its backing file is out of bounds');
  const name = start.toString('utf8', offset, offset + length);
  return { size, backing: { name, ...formatOf(start, start.readUInt32BE(100), offset) } };
}

/** Header extensions lie between the header and the backing file's name. */
function formatOf(start: Buffer, from: number, end: number): { format?: string } {
  for (let at = from; at + 8 <= end; ) {
    const [type, length] = [start.readUInt32BE(at), start.readUInt32BE(at + 4)];
    if (type === 0) break;
    if (type === backingFormat && at + 8 + length <= end)
      return { format: start.toString('utf8', at + 8, at + 8 + length) };
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return {};
}

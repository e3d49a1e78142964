import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { maxDiskSize } from './names.ts';

export interface Qcow2Header {
  /** bytes the guest sees */
  size: number;
  /** Names of the snapshots inside, oldest first. */
  snapshots: string[];
}

/**
 * What a qcow2 file says of itself, also while a machine runs on it: growing it and taking a snapshot write the header before they are
 * acknowledged. The file is a guest's monitor's to write: what makes no sense counts as nothing.
 * https://www.qemu.org/docs/master/interop/qcow2.html
 */
export function readQcow2Header(path: string): Qcow2Header {
  // Where a monitor can write there may be anything by now; nothing of it is waited for.
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const head = read(file, 0, 72);
    if (head.length < 72 || head.toString('latin1', 0, 4) !== 'QFI\xfb') return { size: 0, snapshots: [] };
    const size = Number(head.readBigUInt64BE(24));
    const count = Math.min(head.readUInt32BE(60), maxSnapshots);
    const offset = head.readBigUInt64BE(64);
    const table = count > 0 && offset < BigInt(fstatSync(file).size);
    return {
      size: size <= maxDiskSize ? size : 0,
      snapshots: table ? namesIn(read(file, Number(offset), maxTable), count) : [],
    };
  } finally {
    closeSync(file);
  }
}

const maxSnapshots = 4096;
const maxTable = 1024 * 1024;
const entryHead = 40;

function namesIn(table: Buffer, count: number): string[] {
  const names: string[] = [];
  for (let at = 0; names.length < count && at + entryHead <= table.length; ) {
    const idLength = table.readUInt16BE(at + 12);
    const nameLength = table.readUInt16BE(at + 14);
    const start = at + entryHead + table.readUInt32BE(at + 36) + idLength;
    const end = start + nameLength;
    if (end > table.length) break;
    names.push(table.toString('utf8', start, end));
    at = Math.ceil(end / 8) * 8;
  }
  return names;
}

function read(file: number, position: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  return buffer.subarray(0, readSync(file, buffer, 0, length, position));
}

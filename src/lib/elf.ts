/** A section of a 64-bit little-endian ELF file. */
export interface ElfSection {
  name: string;
  offset: number;
  size: number;
  /** Where its header is, for a change in place. */
  header: number;
}

export function isElf(data: Buffer): boolean {
  return data.length >= 64 && data.readUInt32BE(0) === 0x7f454c46 && data[4] === 2 && data[5] === 1;
}

/** Throws when the file is no 64-bit little-endian ELF, or its headers point out of it. */
export function elfSections(data: Buffer): ElfSection[] {
  if (!isElf(data)) throw new Error('it is no 64-bit ELF file');
  const start = Number(data.readBigUInt64LE(0x28));
  const entry = data.readUInt16LE(0x3a);
  const count = data.readUInt16LE(0x3c);
  if (count === 0) return [];
  if (entry < 64 || start + count * entry > data.length) throw new Error('its section headers are damaged');
  const headers = Array.from({ length: count }, (_, index) => start + index * entry);
  const names = headers[data.readUInt16LE(0x3e)];
  if (names === undefined) throw new Error('it has no section names');
  const nameStart = Number(data.readBigUInt64LE(names + 0x18));
  return headers.map((header) => {
    const at = nameStart + data.readUInt32LE(header);
    const end = data.indexOf(0, at);
    const name = end === -1 ? '' : data.toString('latin1', at, Math.min(end, at + 100));
    const offset = Number(data.readBigUInt64LE(header + 0x18));
    return { name, offset, size: Number(data.readBigUInt64LE(header + 0x20)), header };
  });
}

/** Makes a section look empty. */
export function emptySection(data: Buffer, section: ElfSection): void {
  data.writeBigUInt64LE(0n, section.header + 0x20);
}

const noteSegment = 4;
/** XEN_ELFNOTE_PHYS32_ENTRY: where QEMU's PVH boot begins (xen/include/public/elfnote.h). */
const pvhNote = 18;

/** Whether QEMU can start this kernel as it is, by its PVH entry. */
export function hasPvhEntry(data: Buffer): boolean {
  if (!isElf(data)) return false;
  const start = Number(data.readBigUInt64LE(0x20));
  const entry = data.readUInt16LE(0x36);
  const count = data.readUInt16LE(0x38);
  for (let index = 0; index < count; index++) {
    const header = start + index * entry;
    if (header + 56 > data.length) return false;
    if (data.readUInt32LE(header) !== noteSegment) continue;
    const offset = Number(data.readBigUInt64LE(header + 8));
    const size = Number(data.readBigUInt64LE(header + 0x20));
    if (hasNote(data.subarray(offset, offset + size))) return true;
  }
  return false;
}

function hasNote(notes: Buffer): boolean {
  for (let at = 0; at + 12 <= notes.length; ) {
    const nameSize = notes.readUInt32LE(at);
    const size = notes.readUInt32LE(at + 4);
    const type = notes.readUInt32LE(at + 8);
    if (type === pvhNote && notes.toString('latin1', at + 12, at + 12 + nameSize) === 'Xen\0') return true;
    at += 12 + align(nameSize) + align(size);
  }
  return false;
}

function align(size: number): number {
  return Math.ceil(size / 4) * 4;
}

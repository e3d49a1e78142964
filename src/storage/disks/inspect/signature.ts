import type { FileHandle } from 'node:fs/promises';
import { bytesAt } from './bytes.ts';

/**
 * As which format a file looks by its first and last bytes. Only to tell a user that the format given is wrong: nothing is ever
 * opened as what it looks like.
 */
export async function looksLike(file: FileHandle, size: number): Promise<string | undefined> {
  const head = await bytesAt(file, 0, 512);
  for (const [format, offset, magic] of signatures)
    if (head.subarray(offset, offset + magic.length).equals(Buffer.from(magic, 'latin1'))) return format;
  const tail = await bytesAt(file, Math.max(0, size - 512), 512);
  return tail.subarray(0, 8).toString('latin1') === 'conectix' ? 'vpc' : undefined;
}

const signatures: [format: string, offset: number, magic: string][] = [
  ['qcow2', 0, 'QFI\xfb'],
  ['vmdk', 0, 'KDMV'],
  ['vmdk', 0, 'COWD'],
  ['vmdk', 0, '# Disk DescriptorFile'],
  ['vdi', 64, '\x7f\x10\xda\xbe'],
  ['vhdx', 0, 'vhdxfile'],
  ['vpc', 0, 'conectix'],
  ['parallels', 0, 'WithoutFreeSpace'],
  ['parallels', 0, 'WithouFreSpacExt'],
  ['LUKS', 0, 'LUKS\xba\xbe'],
  ['QED', 0, 'QED\0'],
  ['gzip', 0, '\x1f\x8b\x08'],
  ['xz', 0, '\xfd7zXZ\0'],
  ['zstd', 0, '\x28\xb5\x2f\xfd'],
  ['a zip archive', 0, 'PK\x03\x04'],
  ['a tar archive (an OVA?)', 257, 'ustar'],
];

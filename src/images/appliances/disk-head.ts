import type { ApplianceDiskFile } from '../appliances.ts';
import { refusal } from './refuse.ts';
import type { ApplianceFile } from './source.ts';
import { readVdiHeader } from './vdi.ts';
import { readParallelsHeader } from './parallels-image.ts';

/**
 * What a disk's first (or last) bytes must say for its format, and that it does not stand on another file: a snapshot's
 * file holds only what was changed since, and QEMU takes some of them for the whole disk.
 */
export async function checkHead(file: ApplianceFile, format: ApplianceDiskFile['format']): Promise<void> {
  const head = await file.read(0, 4096);
  switch (format) {
    case 'qcow2':
      return checkQcow2(file.name, head);
    case 'vdi':
      return await checkVdi(file);
    case 'vhdx':
      return await checkVhdx(file, head);
    case 'vpc':
      return await checkVhd(file);
    case 'parallels':
      await readParallelsHeader(file);
      return;
    case 'vmdk':
    case 'raw':
      return;
  }
}

function checkQcow2(name: string, head: Buffer): void {
  if (head.length < 72 || head.toString('latin1', 0, 4) !== 'QFI\xfb')
    throw refusal(name, 'it is no qcow2 disk');
  if (head.readBigUInt64BE(8) !== 0n)
    throw refusal(
      name,
      'it stands on another file (a backing file): make one disk of them with qemu-img convert',
    );
}

async function checkVdi(file: ApplianceFile): Promise<void> {
  const { parent } = await readVdiHeader(file);
  if (parent !== undefined)
    throw refusal(
      file.name,
      'it is the file of a snapshot (a differencing disk): delete the snapshots in VirtualBox, which merges them, or give the machine itself (.vbox)',
    );
}

/** Only whoever has the `parent locator` knows the rest. [MS-VHDX] 2.6. */
async function checkVhdx(file: ApplianceFile, head: Buffer): Promise<void> {
  if (head.toString('latin1', 0, 8) !== 'vhdxfile') throw refusal(file.name, 'it is no VHDX disk');
  const regions = await file.read(192 << 10, 64 << 10);
  const count = regions.length >= 16 ? Math.min(regions.readUInt32LE(8), 2047) : 0;
  for (let at = 16; at < 16 + count * 32 && at + 32 <= regions.length; at += 32) {
    if (regions.toString('hex', at, at + 16) !== metadataRegion) continue;
    const offset = regions.readBigUInt64LE(at + 16);
    const table = await file.read(Number(offset & 0xfffffffffffffn), 64 << 10);
    if (hasParent(table, await file.read(Number(offset & 0xfffffffffffffn), 1 << 20)))
      throw refusal(
        file.name,
        'it is the file of a checkpoint (a differencing disk): delete the checkpoints in Hyper-V, which merges them',
      );
  }
}

/** GUIDs as they stand on disk. */
const metadataRegion = '06a27c8b90479a4bb8fe575f050f886e';
const fileParameters = '3767a1ca36fa434db3b633f0aa44e76b';

function hasParent(table: Buffer, region: Buffer): boolean {
  if (table.toString('latin1', 0, 8) !== 'metadata') return false;
  const entries = Math.min(table.readUInt16LE(10), 2047);
  for (let at = 32; at < 32 + entries * 32 && at + 32 <= table.length; at += 32) {
    if (table.toString('hex', at, at + 16) !== fileParameters) continue;
    const item = table.readUInt32LE(at + 16);
    return item + 8 <= region.length && (region.readUInt32LE(item + 4) & 2) !== 0;
  }
  return false;
}

/** The footer is its last 512 bytes (511 in old ones). */
async function checkVhd(file: ApplianceFile): Promise<void> {
  const tail = await file.read(Math.max(0, file.size - 512), 512);
  const at = tail.indexOf('conectix', 0, 'latin1');
  if (at < 0 || at > 1 || tail.length < at + 64)
    throw refusal(file.name, 'it is no VHD disk, or cut short: its footer is missing');
  if (tail.readUInt32BE(at + 60) === 4)
    throw refusal(file.name, 'it is the file of a snapshot (a differencing disk): merge the snapshots first');
}

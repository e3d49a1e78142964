import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runConfined } from '../../host/confined.ts';
import { isIsleError } from '../../lib/errors.ts';
import type { ApplianceDiskFile, ApplianceMachine } from '../appliances.ts';
import { newFile, readAt } from './source.ts';

/** Bytes that a partition table takes. */
const headLength = 65_536;

/** Type GUIDs as they stand on disk. */
const systemPartition = '28732ac11ff8d211ba4b00a0c93ec93b';
const biosPartition = '4861682149646f6e744e656564454649';

/**
 * Which firmware boots a disk, by its partition table: UEFI for an EFI system partition and nothing for a BIOS. Undefined for a disk
 * that could boot by both or neither, and for one that cannot be read so (whoever takes it out says why). The disk's
 * format is undone by a confined qemu-img.
 */
export async function firmwareOf(
  path: string,
  format: ApplianceDiskFile['format'],
  signal?: AbortSignal,
): Promise<ApplianceMachine['firmware'] | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'isle-boot-layout-'));
  try {
    const head = join(directory, 'head');
    await using file = await newFile(head);
    const result = await runConfined(
      'qemu-img',
      ['dd', '-f', format, '-O', 'raw', `bs=${headLength}`, 'count=1', 'if=/disk', 'of=/head'],
      {
        files: [
          { path, inside: '/disk' },
          { path: head, inside: '/head', write: true },
        ],
        fileSize: headLength,
        signal,
      },
    );
    return result.code === 0 ? firmwareOfHead(await readAt(file, 0, headLength)) : undefined;
  } catch (error) {
    if (!isIsleError(error, 'hostTool')) throw error;
    return undefined;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Of the first bytes of a disk with sectors of 512. */
function firmwareOfHead(head: Buffer): ApplianceMachine['firmware'] | undefined {
  if (head.length < 1024 || head.toString('latin1', 512, 520) !== 'EFI PART') return undefined;
  const types = new Set<string>();
  const size = head.readUInt32LE(512 + 84);
  const count = Math.min(head.readUInt32LE(512 + 80), 128);
  if (size < 128 || size > 4096) return undefined;
  for (let at = 1024, index = 0; index < count && at + size <= head.length; index++, at += size)
    types.add(head.toString('hex', at, at + 16));
  // A boot loader for a BIOS begins in the first sector.
  const loader = head.subarray(0, 440).some((byte) => byte !== 0);
  return types.has(systemPartition) && !types.has(biosPartition) && !loader ? 'uefi' : undefined;
}

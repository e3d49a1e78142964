import type { FileHandle } from 'node:fs/promises';
import { bytesAt, refused, sizeOf } from './bytes.ts';

/** More than anybody takes by hand; each costs whoever reads the image a table of its own. */
const maxSnapshots = 1024;

/** Incompatible features of https://www.qemu.org/docs/master/interop/qcow2.html: dirty, compression type, extended L2 entries. */
const knownFeatures = 0b11001n;

/**
 * Refuses a qcow2 image that names other files, is encrypted, damaged or of a kind unknown; returns the guest's bytes. `stands`: it may
 * name a backing file, which nobody follows.
 */
export async function inspectQcow2(file: FileHandle, stands: boolean): Promise<number> {
  const head = await bytesAt(file, 0, 112);
  if (head.length < 72) throw refused('it ends within its qcow2 header');
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw refused(`it is qcow2 of version ${version}: known are 2 and 3`);
  if (head.readBigUInt64BE(8) !== 0n && !stands)
    throw refused(
      'it has a backing file: only images that stand alone are taken in (qemu-img convert makes one)',
    );
  if (head.readUInt32BE(32) !== 0) throw refused('it is encrypted');
  const clusterBits = head.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw refused(`its clusters are of 2^${clusterBits} bytes`);
  const snapshots = head.readUInt32BE(60);
  if (snapshots > maxSnapshots)
    throw refused(`it has ${snapshots} snapshots: at most ${maxSnapshots} are taken in`);
  if (version === 3) checkFeatures(head);
  return sizeOf(head.readBigUInt64BE(24), 'virtual size');
}

function checkFeatures(head: Buffer): void {
  if (head.length < 104) throw refused('it ends within its qcow2 header');
  const features = head.readBigUInt64BE(72);
  if (features & 2n) throw refused('it is marked as corrupt (qemu-img check -r all may repair it)');
  if (features & 4n) throw refused('its data lie in another file: only images that stand alone are taken in');
  const unknown = features & ~knownFeatures;
  if (unknown !== 0n)
    throw refused(`it needs features of qcow2 that are not known (0x${unknown.toString(16)})`);
}

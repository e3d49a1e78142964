import type { BackupManifest } from '../../../storage/backups/manifest.ts';
import type { BackupRecord } from '../../machines.ts';

/** What people see of a backup. */
export function recordOf(manifest: BackupManifest): BackupRecord {
  const { id, createdAt, mode, reason, parent, quiesced, machine, disks } = manifest;
  return {
    id,
    machine,
    createdAt,
    mode,
    ...(reason !== undefined && { reason }),
    ...(parent !== undefined && { parent }),
    quiesced,
    disks: disks.map(({ target, virtual, bytes }) => ({ target, virtual, bytes })),
  };
}

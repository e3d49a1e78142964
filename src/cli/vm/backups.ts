import { formatBinaryBytes } from '../../lib/units.ts';

/** As the engine tells of it: src/api/isle/machines/backups.ts. */
export interface BackupBody {
  Id: string;
  Machine: { Id: string; Name: string };
  CreatedAt: string;
  Mode: 'full' | 'incremental';
  /** Why it is a full one although an increment was wanted. */
  Reason?: string;
  Parent?: string;
  Quiesced: boolean;
  Disks: { Target: string; Size: number; Bytes: number }[];
}

export interface BackupsBody {
  Backups: BackupBody[];
  Damaged: { Id: string; File: string; Why: string }[];
}

/** Bytes of its images. */
export function bytesOf({ Disks }: BackupBody): number {
  return Disks.reduce((sum, { Bytes }) => sum + Bytes, 0);
}

/** `full, 1.2GiB, because …`. */
export function describeBackup(backup: BackupBody & { MovedBytes: number }): string {
  const { Mode, Parent, MovedBytes, Reason, Quiesced } = backup;
  const kind = Mode === 'incremental' ? `changes since ${Parent}` : 'all of it';
  const why = Reason === undefined ? '' : ` (${Reason})`;
  return `${kind}${why}, ${formatBinaryBytes(MovedBytes)}${Quiesced ? ', file systems at rest' : ''}`;
}

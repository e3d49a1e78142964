import { resolve } from 'node:path';
import { formatBinaryBytes } from '../../lib/units.ts';
import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { followWork } from '../vm/follow-work.ts';

export const command = defineCommand({
  usage: '[OPTIONS] DIR BACKUP [BACKUP...]',
  about:
    'Reads every byte of backups, and of those that they stand on, and compares checksums. Names the first file that is not as it was written. BACKUP is an id, the beginning of one, or the name of a machine: its newest.',
  examples: [
    { run: 'vm backup-verify /backups web', does: 'the newest one of web' },
    { run: 'vm backup-verify /backups 20260131T0300', does: 'by the beginning of its id' },
  ],
  flags: { quiet: boolean('No progress', { short: 'q' }) },
  args: [2, Number.POSITIVE_INFINITY],
  complete: ['file'],
  async run(context, { args: [directory = '', ...backups], flags }) {
    for (const backup of backups) {
      const verified = await followWork<{ Backups: string[]; Bytes: number }>(
        context,
        'POST',
        '/isle/v1/backups/verify',
        { body: { Repository: resolve(directory), Backup: backup } },
        { quiet: flags.quiet, cancelled: 'cancelled' },
      );
      const [first, ...below] = verified.Backups;
      const on = below.length > 0 ? `, with ${below.length} that it stands on` : '';
      context.out.line(`${first} is whole${on} (${formatBinaryBytes(verified.Bytes)})`);
    }
    return 0;
  },
});

import { resolve } from 'node:path';
import { defineCommand } from '../command.ts';
import { boolean, text } from '../flags.ts';
import { followWork } from '../vm/follow-work.ts';

export const command = defineCommand({
  usage: '[OPTIONS] DIR BACKUP',
  about:
    'Makes a machine of a backup, here or on another host. Every byte is compared with its checksum first. BACKUP is an id, the beginning of one, or the name of a machine: its newest. Shares, passed-through devices and CDs of the old host are not taken along.',
  examples: [
    { run: 'vm restore /backups web', does: 'the newest backup of web' },
    { run: 'vm restore --name web-before /backups 20260131T0300', does: 'beside it, from an older one' },
  ],
  flags: {
    name: text('Its name; else that of the machine in the backup, if free', { value: 'NAME' }),
    quiet: boolean('No progress', { short: 'q' }),
  },
  args: [2, 2],
  complete: ['file'],
  async run(context, { args: [directory = '', backup = ''], flags }) {
    const restored = await followWork<{ Id: string; Name: string; Warnings: string[] }>(
      context,
      'POST',
      '/isle/v1/backups/restore',
      {
        body: {
          Repository: resolve(directory),
          Backup: backup,
          ...(flags.name !== undefined && { Name: flags.name }),
        },
      },
      { quiet: flags.quiet, cancelled: 'restore cancelled; nothing is left of it' },
    );
    for (const warning of restored.Warnings) context.err.line(`warning: ${warning}`);
    context.out.line(restored.Name);
    return 0;
  },
});

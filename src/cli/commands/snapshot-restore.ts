import { defineCommand } from '../command.ts';
import { snapshotsPath } from '../each-name.ts';
import { boolean, integer } from '../flags.ts';
import { withSpinner } from '../terminal/spinner.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER SNAPSHOT',
  about:
    'Makes the root file system of a container what it was. What was written since is lost; volumes and binds stay as they are. The snapshot stays, too.',
  examples: [
    { run: 'snapshot restore deb before-upgrade', does: 'one that is stopped' },
    { run: 'snapshot restore --restart deb before-upgrade', does: 'stop it, restore it, start it' },
  ],
  flags: {
    restart: boolean('Stop it before and start it after when it runs'),
    timeout: integer('Seconds to wait before killing it; -1 for ever', { short: 't', aliases: ['time'] }),
  },
  args: [2, 2],
  complete: ['container'],
  async run({ client, err }, { args: [container = '', name = ''], flags }) {
    const path = `${snapshotsPath(container)}/${encodeURIComponent(name)}/restore`;
    const work = client.post(path, { body: { Restart: flags.restart, Timeout: flags.timeout } });
    await withSpinner(err, 'restoring', work);
  },
});

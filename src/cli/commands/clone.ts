import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { boolean } from '../flags.ts';
import { withSpinner } from '../terminal/spinner.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER[/SNAPSHOT] [NEW_NAME]',
  about:
    'A container with the same settings and a copy of all that the other has written, as it is now or was when the snapshot was taken. It is somebody else: own id, hostname, addresses, machine-id and anonymous volumes. Named volumes and binds are shared with the source.',
  examples: [
    { run: 'clone deb deb2 --start', does: 'a running twin' },
    { run: 'clone deb/before-upgrade deb-old', does: 'what it was then' },
    { run: 'clone --no-ports web web-test', does: 'beside one that has its ports' },
  ],
  flags: {
    'no-ports': boolean('Publish none of its ports'),
    start: boolean('Start it'),
  },
  args: [1, 2],
  complete: ['container'],
  async run({ client, out, err }, { args: [source = '', name], flags }) {
    const slash = source.indexOf('/', 1);
    const work = client.post<{ Id: string; Warnings: string[] }>(
      `/isle/v1${containerPath(slash < 0 ? source : source.slice(0, slash))}/clone`,
      {
        body: {
          Name: name,
          Snapshot: slash < 0 ? undefined : source.slice(slash + 1),
          NoPorts: flags['no-ports'],
        },
      },
    );
    const { Id, Warnings } = await withSpinner(err, 'cloning', work);
    for (const warning of Warnings) err.foreign(`note: ${warning}`);
    if (flags.start) await client.post(`${containerPath(Id)}/start`);
    out.line(Id);
  },
});

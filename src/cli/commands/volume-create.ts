import type { VolumeBody } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { toMap } from '../container/environment.ts';
import { list, textOr } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] [VOLUME]',
  examples: [
    { run: 'volume create data', does: 'a place that outlives containers' },
    { run: 'volume create -o type=tmpfs -o device=tmpfs -o o=size=100m scratch', does: 'with mount options' },
  ],
  flags: {
    driver: textOr('local', 'Volume driver', { short: 'd' }),
    label: list('Label (key=value)'),
    opt: list('Driver options (key=value)', { short: 'o', value: 'map' }),
  },
  args: [0, 1],
  async run({ client, out }, { args: [name], flags }) {
    const volume = await client.post<VolumeBody>('/volumes/create', {
      body: { Name: name, Driver: flags.driver, DriverOpts: toMap(flags.opt), Labels: toMap(flags.label) },
    });
    out.line(volume.Name);
  },
});

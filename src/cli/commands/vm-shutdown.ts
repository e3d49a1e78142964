import { defineCommand } from '../command.ts';
import { containerPath, eachName } from '../each-name.ts';
import { boolean, integer } from '../flags.ts';
import { getMachine, machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [NAME...]',
  about:
    'By its agent where one answers, else by ACPI. Returns when the guest has been asked; with --wait, when it is off.',
  examples: [
    { run: 'vm shutdown deb', does: 'ask it' },
    {
      run: 'vm shutdown --wait --timeout 120 deb',
      does: 'pull the plug when it is still on after two minutes',
    },
  ],
  flags: {
    wait: boolean('Until it is off'),
    timeout: integer('With --wait: seconds until the plug is pulled; -1 for never', { short: 't' }),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running-machine'],
  run(context, { args, flags }) {
    const { client } = context;
    const waits = flags.wait || flags.timeout !== undefined;
    const shutdown = async (name: string) => {
      if (!waits) {
        await client.status('POST', `${machinePath(name)}/shutdown`);
        return;
      }
      const { Id } = await getMachine(context, name);
      await client.status('POST', `${containerPath(Id)}/stop`, { query: { t: flags.timeout ?? -1 } });
    };
    return eachName(context, args, shutdown, 'shutting down');
  },
});

import { defineCommand } from '../command.ts';
import type { Context } from '../context.ts';
import { containerPath, eachName } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { boolean, integerWithin, text } from '../flags.ts';
import { getMachine, machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [NAME...]',
  about:
    'A machine that was saved goes on where it was. With --wait until its guest is up: a login prompt or the end of cloud-init on its console, or its guest agent; when that does not come, the last lines of the console are shown, and a picture of its screen is kept.',
  examples: [
    { run: 'vm start deb', does: 'it boots; see: isle vm console deb' },
    { run: 'vm start --wait --wait-timeout 120 deb', does: 'until somebody can log in' },
    { run: 'vm start --console deb', does: 'and look at it' },
  ],
  flags: {
    wait: boolean('Until its guest is up'),
    'wait-timeout': integerWithin(1, 86_400, 'Seconds until that fails (300)', { value: 'seconds' }),
    screenshot: text('Where to keep the picture of a boot that failed', { complete: 'file' }),
    console: boolean('Connect this terminal to its console'),
    'force-boot': boolean('Forget a saved memory, and boot'),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['machine'],
  async run(context, { args, flags }) {
    const seconds =
      flags.wait || flags['wait-timeout'] !== undefined ? (flags['wait-timeout'] ?? 300) : undefined;
    const { screenshot } = flags;
    if (flags.console && (args.length > 1 || seconds !== undefined))
      throw new Failure('--console is for one machine, without --wait');
    const start = async (name: string) => {
      const machine = await getMachine(context, name);
      if (flags['force-boot'] && machine.Saved)
        await context.client.status('POST', `${machinePath(machine.Id)}/discard-saved`);
      const go = async () => {
        const status = await context.client.status('POST', `${containerPath(machine.Id)}/start`);
        return status !== 304;
      };
      if (seconds === undefined) await go();
      else await waitFor(context, machine, { seconds, screenshot, start: go });
    };
    if (!flags.console) return await eachName(context, args, start, 'starting');
    const [name = ''] = args;
    await start(name);
    const { openConsole } = await import('../vm/console.ts');
    return await openConsole(context, name, { stdin: true, tail: 1000 });
  },
});

async function waitFor(
  context: Context,
  machine: { Id: string; Name: string },
  options: { seconds: number; screenshot: string | undefined; start: () => Promise<boolean> },
): Promise<void> {
  const { waitForBoot } = await import('../vm/boot-watch.ts');
  await waitForBoot(context, machine, options);
}

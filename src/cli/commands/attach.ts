import type { ContainerInspect } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { boolean, booleanOn, text } from '../flags.ts';
import { runInForeground } from '../session/foreground.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER',
  about: 'Ctrl-P Ctrl-Q leaves it running, as does Ctrl-C twice where it has no terminal.',
  examples: [{ run: 'attach shell', does: 'come back to a container left with ctrl-p,ctrl-q' }],
  flags: {
    'detach-keys': text('Keys that detach (ctrl-p,ctrl-q)'),
    'no-stdin': boolean('Only look'),
    'sig-proxy': booleanOn('Pass signals on to the process'),
  },
  args: [1, 1],
  complete: ['running'],
  async run(context, { args: [name = ''], flags }) {
    const container = await context.client.get<ContainerInspect>(`${containerPath(name)}/json`);
    if (!container.State.Running)
      throw new Failure('cannot attach to a stopped container, start it first', {
        hint: `isle start -ai ${name}`,
      });
    if (container.State.Paused)
      throw new Failure('cannot attach to a paused container, unpause it first', {
        hint: `isle unpause ${name}`,
      });
    const tty = container.Config.Tty;
    const stdin = !flags['no-stdin'] && container.Config.OpenStdin;
    if (tty && stdin && !process.stdin.isTTY)
      throw new Failure('the input device is not a TTY', { hint: 'use --no-stdin to only look' });
    return runInForeground(context, {
      id: container.Id,
      name,
      tty,
      stdin,
      stdout: true,
      stderr: true,
      detachKeys: flags['detach-keys'],
      sigProxy: flags['sig-proxy'] && !tty,
      wait: 'not-running',
    });
  },
});

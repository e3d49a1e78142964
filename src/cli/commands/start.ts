import type { ContainerInspect } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { containerPath, eachName } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { runInForeground } from '../session/foreground.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  examples: [
    { run: 'start web', does: 'start a stopped container' },
    { run: 'start -ai shell', does: 'start it and connect this terminal' },
  ],
  flags: {
    attach: boolean('Show its output and forward signals', { short: 'a' }),
    'detach-keys': text('Keys that detach (ctrl-p,ctrl-q)'),
    interactive: boolean('Connect stdin', { short: 'i' }),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['container'],
  async run(context, { args, flags }) {
    const { client } = context;
    const start = (name: string) => client.status('POST', `${containerPath(name)}/start`).then(() => {});
    if (!flags.attach && !flags.interactive) return eachName(context, args, start, 'starting');
    const [name = '', ...more] = args;
    if (more.length > 0) throw new Failure('you cannot start and attach multiple containers at once');
    const container = await client.get<ContainerInspect>(`${containerPath(name)}/json`);
    return runInForeground(context, {
      id: container.Id,
      name,
      tty: container.Config.Tty,
      stdin: flags.interactive && container.Config.OpenStdin,
      stdout: true,
      stderr: true,
      detachKeys: flags['detach-keys'],
      sigProxy: !container.Config.Tty,
      wait: container.State.Running
        ? 'not-running'
        : container.HostConfig.AutoRemove
          ? 'removed'
          : 'next-exit',
      start: () => start(container.Id),
    });
  },
});

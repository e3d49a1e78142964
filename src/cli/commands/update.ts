import { defineCommand } from '../command.ts';
import { limitsOf } from '../container/config.ts';
import { limitFlags } from '../container/flags.ts';
import { parseRestart } from '../container/restart.ts';
import { containerPath, eachName } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { text } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  examples: [
    { run: 'update -m 1g --memory-swap 2g --cpus 2 web', does: 'more room, without a restart' },
    { run: 'update --restart unless-stopped web', does: 'keep it up from now on' },
  ],
  flags: {
    ...limitFlags,
    restart: text('When it ends: "no", "always", "unless-stopped", "on-failure[:N]"', {
      complete: ['no', 'always', 'unless-stopped', 'on-failure'],
    }),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['container'],
  run(context, { args, flags, given }) {
    if (given.size === 0)
      throw new Failure('you must provide one or more flags when using this command', {
        hint: 'see: isle help update',
      });
    const body = {
      ...limitsOf(flags),
      RestartPolicy: flags.restart === undefined ? undefined : parseRestart(flags.restart),
    };
    return eachName(context, args, async (name) => {
      const { Warnings } = await context.client.post<{ Warnings?: string[] | null }>(
        `${containerPath(name)}/update`,
        { body },
      );
      for (const warning of Warnings ?? []) context.err.line(`isle: warning: ${warning}`);
    });
  },
});

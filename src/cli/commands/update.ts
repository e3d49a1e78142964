import { defineCommand } from '../command.ts';
import { autostartFlags } from '../container/autostart.ts';
import { limitsOf } from '../container/config.ts';
import { limitFlags } from '../container/flags.ts';
import { parseRestart } from '../container/restart.ts';
import { containerPath, eachName } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { text, type Values } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  examples: [
    { run: 'update -m 1g --memory-swap 2g --cpus 2 web', does: 'more room, without a restart' },
    { run: 'update --restart unless-stopped web', does: 'keep it up from now on' },
    {
      run: 'update --autostart=10 --autostart-delay 5 db',
      does: 'start it with the engine, as one of the first',
    },
  ],
  flags: {
    ...limitFlags,
    ...autostartFlags,
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
    const autostart = autostartOf(flags);
    return eachName(context, args, async (name) => {
      if (autostart !== undefined) {
        const path = `/isle/v1${containerPath(name)}/autostart`;
        if (autostart) await context.client.status('PUT', path, { body: autostart });
        else await context.client.status('DELETE', path);
        if (Object.values(body).every((value) => value === undefined)) return;
      }
      const { Warnings } = await context.client.post<{ Warnings?: string[] | null }>(
        `${containerPath(name)}/update`,
        { body },
      );
      for (const warning of Warnings ?? []) context.err.line(`isle: warning: ${warning}`);
    });
  },
});

/** Undefined: leave it as it is; false: no more. */
function autostartOf(
  flags: Values<typeof autostartFlags>,
): { Order: number | undefined; Delay: number | undefined } | false | undefined {
  const { autostart: order, 'autostart-delay': delay } = flags;
  if (order === false) return false;
  if (order === undefined && delay === undefined) return undefined;
  return { Order: order, Delay: delay };
}

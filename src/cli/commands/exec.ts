import { defineCommand } from '../command.ts';
import { parseEnvironment, readEnvironmentFile } from '../container/environment.ts';
import { boolean, each, list, text } from '../flags.ts';
import { execute } from '../session/exec.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER COMMAND [ARG...]',
  examples: [
    { run: 'exec -it web sh', does: 'a shell inside' },
    { run: 'exec -u root -w /etc web cat hosts', does: 'one command, as root' },
    { run: 'exec -i db psql < dump.sql', does: 'with input from here' },
  ],
  flags: {
    detach: boolean('Leave it running in the background', { short: 'd' }),
    'detach-keys': text('Keys that detach (ctrl-p,ctrl-q)'),
    env: each('Set an environment variable', parseEnvironment, { short: 'e' }),
    'env-file': list('Read environment variables from a file', { complete: 'file' }),
    interactive: boolean('Connect stdin', { short: 'i' }),
    privileged: boolean('With all capabilities'),
    tty: boolean('Give it a terminal', { short: 't' }),
    user: text('User: name|uid[:group|gid]', { short: 'u' }),
    workdir: text('Working directory inside', { short: 'w' }),
  },
  args: [2, Number.POSITIVE_INFINITY],
  complete: ['running', 'command'],
  interspersed: false,
  run(context, { args: [name = '', ...words], flags }) {
    return execute(context, {
      container: name,
      words,
      env: [...flags['env-file'].flatMap(readEnvironmentFile), ...flags.env],
      user: flags.user,
      workdir: flags.workdir,
      privileged: flags.privileged,
      tty: flags.tty,
      stdin: !flags.detach && flags.interactive,
      detach: flags.detach,
      detachKeys: flags['detach-keys'],
    });
  },
});

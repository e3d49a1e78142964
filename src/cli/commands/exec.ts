import { containerPath } from '../each-name.ts';
import { defineCommand } from '../command.ts';
import { parseEnvironment, readEnvironmentFile } from '../container/environment.ts';
import { Failure } from '../failure.ts';
import { boolean, each, list, text } from '../flags.ts';
import { defaultDetachKeys, parseDetachKeys } from '../session/detach-keys.ts';
import { handleSignals } from '../session/signals.ts';
import { resizer, terminalSize } from '../session/size.ts';
import { StreamSession } from '../session/stream.ts';

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
  async run(context, { args: [name = '', ...words], flags }) {
    const { client } = context;
    const keys = parseDetachKeys(flags['detach-keys'] ?? defaultDetachKeys);
    const attached = !flags.detach;
    const stdin = attached && flags.interactive;
    if (attached && flags.tty && stdin && !process.stdin.isTTY)
      throw new Failure('the input device is not a TTY', { hint: 'leave out -t to pipe something in' });
    const size = flags.tty ? terminalSize() : undefined;
    const consoleSize = size && { ConsoleSize: [size.rows, size.columns] };
    const { Id: id } = await client.post<{ Id: string }>(`${containerPath(name)}/exec`, {
      body: {
        Cmd: words,
        Tty: flags.tty,
        AttachStdin: stdin,
        AttachStdout: attached,
        AttachStderr: attached,
        Env: [...flags['env-file'].flatMap(readEnvironmentFile), ...flags.env],
        User: flags.user,
        WorkingDir: flags.workdir,
        Privileged: flags.privileged || undefined,
        DetachKeys: flags['detach-keys'],
        ...consoleSize,
      },
    });
    const path = `/exec/${id}`;
    if (flags.detach) {
      await client.post(`${path}/start`, { body: { Detach: true, Tty: flags.tty } });
      return 0;
    }
    const hijacked = await client.hijack(`${path}/start`, {
      body: { Detach: false, Tty: flags.tty, ...consoleSize },
    });
    const session = new StreamSession(context, hijacked, {
      tty: flags.tty,
      stdin,
      stdout: true,
      stderr: true,
      detachKeys: keys,
    });
    const resize = flags.tty ? resizer(client, path) : undefined;
    const release = resize
      ? handleSignals({ forward: () => {}, detach: () => session.detach(), resize })
      : undefined;
    try {
      resize?.();
      if ((await session.run()) === 'detached') {
        context.err.line(`\nisle: detached; the command runs on in ${name}`);
        return 0;
      }
    } finally {
      release?.();
    }
    const { ExitCode } = await client.get<{ ExitCode: number | null }>(`${path}/json`);
    return ExitCode ?? 0;
  },
});

import { defineCommand } from '../command.ts';
import { type CreateBody, toCreateBody } from '../container/config.ts';
import { createContainer } from '../container/create.ts';
import { containerFlags } from '../container/flags.ts';
import { createUnikernel, isUnikernel } from '../container/unikernel.ts';
import { Failure } from '../failure.ts';
import { boolean, booleanOn, text } from '../flags.ts';
import { terminalSize } from '../session/size.ts';
import { parseDetachKeys } from '../session/detach-keys.ts';
import { runInForeground } from '../session/foreground.ts';

const flags = {
  detach: boolean('Run in the background and print the id', { short: 'd' }),
  'detach-keys': text('Keys that detach (ctrl-p,ctrl-q)'),
  'sig-proxy': booleanOn('Pass signals on to the process'),
  kernel: text('The kernel of a unikernel (--runtime unikernel); what follows are its arguments', {
    value: 'file',
    complete: 'file',
  }),
  accel: text('What runs a unikernel: kvm or tcg, instead of the best that works', { value: 'name' }),
  ...containerFlags,
} as const;

export const command = defineCommand({
  usage: '[OPTIONS] IMAGE|--kernel FILE [COMMAND] [ARG...]',
  examples: [
    { run: 'run -it --rm debian bash', does: 'a shell in a fresh Debian, gone when you leave it' },
    { run: 'run -d --name web -p 8080:80 nginx', does: 'a web server on http://localhost:8080' },
    { run: 'run --rm -v "$PWD:/src" -w /src node npm test', does: 'a command on the files here' },
    { run: 'run --rm --runtime microvm nginx', does: 'the same image with a kernel of its own' },
    {
      run: 'run --rm --runtime unikernel --kernel app.elf netdev.ip={ip}',
      does: 'a kernel that is the program',
    },
    { run: 'run -d --restart unless-stopped -m 512m --cpus 1.5 IMAGE', does: 'kept alive, with limits' },
  ],
  flags,
  args: [0, Number.POSITIVE_INFINITY],
  complete: ['image', 'command'],
  interspersed: false,
  errorCode: 125,
  async run(context, { args, flags }) {
    const unikernel = isUnikernel(flags);
    const [image, ...words] = args;
    if (image === undefined && !unikernel)
      throw new Failure('needs the name of an image', {
        exitCode: 125,
        hint: 'isle run IMAGE [COMMAND] [ARG...]',
      });
    if (flags.detach && flags.attach.length > 0)
      throw new Failure('conflicting options: cannot specify both --attach and --detach', { exitCode: 125 });
    const body = foreground(toCreateBody(flags, image ?? '', words), flags);
    if (body.Tty && body.AttachStdin && !flags.detach && !process.stdin.isTTY)
      throw new Failure('the input device is not a TTY', {
        exitCode: 125,
        hint: 'leave out -t to pipe something in',
      });
    // Whatever can be wrong is found before there is a container to be left behind.
    parseDetachKeys(flags['detach-keys'] ?? '');
    const size = body.Tty && !flags.detach ? terminalSize() : undefined;
    if (size) body.HostConfig.ConsoleSize = [size.rows, size.columns];
    const id = unikernel
      ? await createUnikernel(context, flags, args)
      : await createContainer(context, flags, body);
    const start = () => context.client.post(`/containers/${id}/start`);
    if (flags.detach) {
      await start();
      context.out.line(id);
      return 0;
    }
    return runInForeground(context, {
      id,
      name: flags.name ?? id.slice(0, 12),
      tty: body.Tty,
      stdin: body.AttachStdin,
      stdout: body.AttachStdout,
      stderr: body.AttachStderr,
      detachKeys: flags['detach-keys'],
      // A terminal sends its keys itself; signals are for those without.
      sigProxy: flags['sig-proxy'] && !body.Tty,
      wait: flags.rm ? 'removed' : 'next-exit',
      start,
    });
  },
});

/** What `run` asks for beyond `create`: nothing attached when detached. */
export function foreground(body: CreateBody, flags: { detach: boolean; attach: string[] }): CreateBody {
  if (!flags.detach) return body;
  if (flags.attach.length > 0)
    throw new Failure('conflicting options: cannot specify both --attach and --detach', { exitCode: 125 });
  return { ...body, AttachStdin: false, AttachStdout: false, AttachStderr: false, StdinOnce: false };
}

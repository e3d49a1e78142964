import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { getMachine, machinePath } from '../vm/machine.ts';
import { listenForViewers } from '../vm/screen-socket.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  about:
    'Opens a socket that only you can connect to and prints it; a VNC viewer finds the screen there until Ctrl-C, or until the machine is off. Nothing listens on a port: from another host, forward the socket (ssh -L 5900:/run/user/0/deb.sock HOST).',
  examples: [
    {
      run: 'vm display deb',
      does: 'then, for example: vncviewer SOCKET, or remote-viewer vnc+unix://SOCKET',
    },
    { run: 'vm display --viewer vncviewer deb', does: 'and start the viewer' },
    {
      run: 'vm display --ticket deb',
      does: 'for programs: a ticket that opens it once, within half a minute',
    },
  ],
  flags: {
    socket: text('Path of the socket', { complete: 'file', value: 'path' }),
    viewer: text('Program to start with the socket as its last argument', { complete: 'command' }),
    ticket: boolean('Print a ticket, as JSON; see POST /isle/v1/display'),
  },
  args: [1, 1],
  complete: ['running-machine'],
  async run(context, { args: [name = ''], flags }) {
    const { client, out, err } = context;
    const { Id, Name } = await getMachine(context, name);
    // Also says now, and not to the viewer, when there is no screen.
    const ticket = await client.post<{ Ticket: string; ExpiresAt: string }>(`${machinePath(Id)}/display`);
    if (flags.ticket) {
      out.line(JSON.stringify(ticket));
      return 0;
    }
    const problem = (message: string) => err.foreign(`isle: ${message}`);
    await using listening = await listenForViewers(client, Id, flags.socket, problem);
    const stop = new AbortController();
    const interrupt = () => stop.abort();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, interrupt);
    const off = client
      .stream('POST', `${containerPath(Id)}/wait`, {
        query: { condition: 'not-running' },
        signal: stop.signal,
      })
      .then(async ({ body }) => {
        for await (const _ of body);
      })
      .catch(() => {});
    if (flags.viewer !== undefined) {
      const ended = view(flags.viewer, listening.path);
      return await Promise.race([ended, off.then(() => 0)]);
    }
    out.line(listening.path);
    if (err.isTerminal) err.line(`isle: the screen of ${Name} is there until Ctrl-C`);
    await off;
    return 0;
  },
});

/** Resolves to its exit code. */
async function view(command: string, path: string): Promise<number> {
  const [program = '', ...words] = command.split(/\s+/).filter(Boolean);
  const url = /(remote-viewer|virt-viewer|gvncviewer|vinagre|krdc)$/.test(program)
    ? `vnc+unix://${path}`
    : path;
  const child = spawn(program, [...words, url], { stdio: 'inherit' });
  const failed = once(child, 'error').then(([error]) => {
    throw new Failure(`cannot start ${program}: ${(error as Error).message}`, { cause: error });
  });
  const [code] = (await Promise.race([once(child, 'exit'), failed])) as [number | null];
  return code ?? 1;
}

import { containerPath } from '../each-name.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { defaultDetachKeys, parseDetachKeys } from './detach-keys.ts';
import { handleSignals } from './signals.ts';
import { resizer, terminalSize } from './size.ts';
import { StreamSession } from './stream.ts';

export interface ExecRequest {
  container: string;
  words: string[];
  env: string[];
  user: string | undefined;
  workdir?: string | undefined;
  privileged?: boolean;
  tty: boolean;
  stdin: boolean;
  detach?: boolean;
  detachKeys?: string | undefined;
}

/** Runs a command in a container, connected to this terminal unless detached. Resolves to its exit code. */
export async function execute(context: Context, request: ExecRequest): Promise<number> {
  const { client } = context;
  const { container, tty, stdin } = request;
  const keys = parseDetachKeys(request.detachKeys ?? defaultDetachKeys);
  const attached = !request.detach;
  if (attached && tty && stdin && !process.stdin.isTTY)
    throw new Failure('the input device is not a TTY', { hint: 'leave out -t to pipe something in' });
  const size = tty ? terminalSize() : undefined;
  const consoleSize = size && { ConsoleSize: [size.rows, size.columns] };
  const { Id: id } = await client.post<{ Id: string }>(`${containerPath(container)}/exec`, {
    body: {
      Cmd: request.words,
      Tty: tty,
      AttachStdin: stdin,
      AttachStdout: attached,
      AttachStderr: attached,
      Env: request.env,
      User: request.user,
      WorkingDir: request.workdir,
      Privileged: request.privileged || undefined,
      DetachKeys: request.detachKeys,
      ...consoleSize,
    },
  });
  const path = `/exec/${id}`;
  if (!attached) {
    await client.post(`${path}/start`, { body: { Detach: true, Tty: tty } });
    return 0;
  }
  const hijacked = await client.hijack(`${path}/start`, {
    body: { Detach: false, Tty: tty, ...consoleSize },
  });
  const session = new StreamSession(context, hijacked, {
    tty,
    stdin,
    stdout: true,
    stderr: true,
    detachKeys: [keys],
  });
  const resize = tty ? resizer(client, path) : undefined;
  const release = resize
    ? handleSignals({ forward: () => {}, detach: () => session.detach(), resize })
    : undefined;
  try {
    resize?.();
    if ((await session.run()) === 'detached') {
      context.err.line(`\nisle: detached; the command runs on in ${container}`);
      return 0;
    }
  } finally {
    release?.();
  }
  const { ExitCode } = await client.get<{ ExitCode: number | null }>(`${path}/json`);
  return ExitCode ?? 0;
}

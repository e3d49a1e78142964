import type { Engine, ExecOptions, ExecRecord } from '../../engine/engine.ts';
import type { TerminalSize } from '../../engine/runtime.ts';
import { isIsleError, isleError, messageOf } from '../../lib/errors.ts';
import type { Call, Route } from '../http/call.ts';
import { parseDetachKeys } from '../http/detach-keys.ts';
import type { Fields } from '../http/fields.ts';
import { frame, streamType } from '../http/frames.ts';
import { json, noContent, type Reply } from '../http/reply.ts';
import { terminalSize } from './container-control.ts';
import { finish, serveStreams } from './stream-session.ts';

export function execRoutes(engine: Engine): Route[] {
  const { execs } = engine;
  return [
    {
      method: 'POST',
      path: '/containers/:id/exec',
      async handle(call) {
        const options = parseExec(await call.json());
        return json({ Id: await execs.create(call.param('id'), options) }, 201);
      },
    },
    { method: 'POST', path: '/exec/:id/start', handle: (call) => startExec(engine, call) },
    {
      method: 'POST',
      path: '/exec/:id/resize',
      async handle(call) {
        await execs.resize(call.param('id'), terminalSize(call.query));
        return noContent(200);
      },
    },
    {
      method: 'GET',
      path: '/exec/:id/json',
      handle: (call) => json(renderExec(execs.get(call.param('id')))),
    },
  ];
}

/** The body of `POST /containers/{id}/exec`. Throws `invalidParameter`. */
export function parseExec(body: Fields): ExecOptions {
  const args = body.command('Cmd') ?? [];
  if (args.length === 0 || args[0] === '')
    throw isleError('invalidParameter', { message: 'No exec command specified' });
  const detachKeys = body.text('DetachKeys') || undefined;
  parseDetachKeys(detachKeys);
  return {
    args,
    env: body.texts('Env'),
    cwd: body.text('WorkingDir'),
    user: body.text('User'),
    tty: body.flag('Tty'),
    attachStdin: body.flag('AttachStdin'),
    attachStdout: body.flag('AttachStdout'),
    attachStderr: body.flag('AttachStderr'),
    privileged: body.flag('Privileged'),
    detachKeys,
    size: consoleSize(body),
  };
}

/** `[height, width]` */
function consoleSize(body: Fields): TerminalSize | undefined {
  const value = body.raw('ConsoleSize');
  if (value === undefined) return undefined;
  const isSize = (item: unknown): item is number =>
    Number.isInteger(item) && Number(item) >= 0 && Number(item) <= 65535;
  if (!Array.isArray(value) || value.length !== 2)
    throw body.invalid('ConsoleSize', 'must be [height, width]');
  const [rows, columns] = value as unknown[];
  if (!isSize(rows) || !isSize(columns))
    throw body.invalid('ConsoleSize', 'must be two numbers from 0 to 65535');
  return rows === 0 && columns === 0 ? undefined : { rows, columns };
}

async function startExec(engine: Engine, call: Call): Promise<Reply> {
  const { execs } = engine;
  const exec = execs.get(call.param('id'));
  const body = await call.json();
  const { tty } = exec;
  // A size counts only with a terminal.
  const size = tty ? (consoleSize(body) ?? exec.size) : undefined;
  const attached = exec.attachStdin || exec.attachStdout || exec.attachStderr;
  if (body.flag('Detach')) {
    await execs.start(exec.id, { detach: true, tty, size });
    return noContent(200);
  }
  const session = await startOrSay(engine, exec, { detach: !attached, tty, size });
  const socket = call.hijack(streamType(tty, call.version));
  if (session === undefined) finish(socket);
  else if (session instanceof Error) {
    const text = Buffer.from(`${messageOf(session)}\r\n`);
    socket.write(tty ? text : frame('stdout', text));
    finish(socket);
  } else {
    await serveStreams(socket, session.streams, {
      tty,
      stdin: exec.attachStdin,
      stdout: exec.attachStdout,
      stderr: exec.attachStderr,
      detachKeys: parseDetachKeys(exec.detachKeys),
      exited: session.exit,
    });
  }
  return 'taken';
}

/**
 * A command that cannot be run, or not as asked (its user, its directory), is told in the stream and by the exec's exit
 * code (126, 127): that is where clients look.
 */
async function startOrSay(
  engine: Engine,
  exec: ExecRecord,
  options: { detach: boolean; tty: boolean; size?: TerminalSize },
): Promise<Awaited<ReturnType<Engine['execs']['start']>> | Error> {
  try {
    return await engine.execs.start(exec.id, options);
  } catch (error) {
    if (isIsleError(error, 'commandNotFound', 'commandNotExecutable', 'invalidParameter')) return error;
    throw error;
  }
}

/** `GET /exec/{id}/json` */
export function renderExec(exec: ExecRecord): object {
  return {
    ID: exec.id,
    Running: exec.running,
    ExitCode: exec.exitCode,
    ProcessConfig: {
      tty: exec.tty,
      entrypoint: exec.args[0] ?? '',
      arguments: exec.args.slice(1),
      privileged: exec.privileged,
      ...(exec.user !== '' && { user: exec.user }),
    },
    OpenStdin: exec.attachStdin,
    OpenStderr: exec.attachStderr,
    OpenStdout: exec.attachStdout,
    CanRemove: false,
    ContainerID: exec.containerId,
    DetachKeys: exec.detachKeys ?? '',
    Pid: exec.pid,
  };
}

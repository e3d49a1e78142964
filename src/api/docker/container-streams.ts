import type { Engine, LogEntry } from '../../engine/engine.ts';
import type { Container } from '../../engine/model.ts';
import type { Streams } from '../../engine/runtime.ts';
import { isleError, messageOf } from '../../lib/errors.ts';
import type { Call, Route } from '../http/call.ts';
import { parseDetachKeys } from '../http/detach-keys.ts';
import { frame, streamType } from '../http/frames.ts';
import { write } from '../http/output.ts';
import type { Reply } from '../http/reply.ts';
import { parseLogQuery, renderLog } from './log-lines.ts';
import { finish, serveStreams } from './stream-session.ts';

/** Attach and logs. */
export function containerStreamRoutes(engine: Engine): Route[] {
  return [
    { method: 'POST', path: '/containers/:id/attach', handle: (call) => attach(engine, call) },
    { method: 'GET', path: '/containers/:id/logs', handle: (call) => logs(engine, call) },
  ];
}

async function attach(engine: Engine, call: Call): Promise<Reply> {
  const { query } = call;
  const container = engine.containers.get(call.param('id'));
  checkAttachable(container);
  const { tty } = container.spec;
  const wanted = { stdin: query.flag('stdin'), stdout: query.flag('stdout'), stderr: query.flag('stderr') };
  const detachKeys = parseDetachKeys(query.optional('detachKeys'));
  const stream = query.flag('stream');
  const replay = query.flag('logs') && keepsLogs(container);
  // Connected before the answer, so that a failure is still a status and nothing after the answer is missed.
  const streams = stream ? await engine.containers.attach(container.id) : undefined;
  const socket = call.hijack(streamType(tty, call.version));
  if (!replay) {
    if (streams) await serveStreams(socket, streams, { tty, detachKeys, ...wanted });
    else finish(socket);
    return 'taken';
  }
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  const log = engine.containers.logs(
    container.id,
    { stdout: wanted.stdout, stderr: wanted.stderr, follow: stream },
    gone.signal,
  );
  // The log holds all output in order: what is stored, then what comes, without a gap between them.
  const send = async (): Promise<void> => {
    for await (const entry of log)
      await write(socket, tty ? entry.data : frame(entry.stream, entry.data), gone.signal);
  };
  await serveReplay(socket, streams, send(), { tty, detachKeys, ...wanted }, gone.signal);
  return 'taken';
}

async function serveReplay(
  socket: Parameters<typeof serveStreams>[0],
  streams: Streams | undefined,
  sent: Promise<void>,
  options: Parameters<typeof serveStreams>[2],
  signal: AbortSignal,
): Promise<void> {
  try {
    const ends = [sent];
    if (streams)
      ends.push(serveStreams(socket, streams, { ...options, stdout: false, stderr: false, exited: sent }));
    await Promise.all(ends);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    finish(socket);
  }
}

function checkAttachable({ state, id }: Container): void {
  if (state.phase === 'paused')
    throw isleError('conflict', {
      message: `container ${id} is paused, unpause the container before attach`,
    });
  if (state.phase === 'restarting')
    throw isleError('conflict', {
      message: `container ${id} is restarting, wait until the container is running`,
    });
}

function keepsLogs(container: Container): boolean {
  return container.spec.logConfig.driver !== 'none';
}

async function logs(engine: Engine, call: Call): Promise<Reply> {
  const container = engine.containers.get(call.param('id'));
  const { options, timestamps, details } = parseLogQuery(call.query);
  if (!keepsLogs(container))
    throw isleError('notImplemented', { what: 'reading logs of a container with the log driver "none"' });
  const { tty } = container.spec;
  const { signal } = call;
  const entries: AsyncIterable<LogEntry> = engine.containers.logs(container.id, options, signal);
  const response = call.stream(streamType(tty, call.version));
  const render = renderLog(container, { timestamps, details });
  try {
    for await (const entry of entries) {
      const line = render(entry);
      await write(response, tty ? line : frame(entry.stream, line), signal);
    }
  } catch (error) {
    if (signal.aborted) return 'taken';
    const text = Buffer.from(`Error grabbing logs: ${messageOf(error)}\n`);
    response.write(tty ? text : frame('system', text));
  }
  response.end();
  return 'taken';
}

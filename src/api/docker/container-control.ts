import type { Engine } from '../../engine/engine.ts';
import type { TerminalSize } from '../../engine/runtime.ts';
import { isleError } from '../../lib/errors.ts';
import type { Call, Route } from '../http/call.ts';
import type { Query } from '../http/query.ts';
import { noContent, type Reply } from '../http/reply.ts';

/** Start, stop and what lies between. A client that goes away cancels none of it. */
export function containerControlRoutes(engine: Engine): Route[] {
  const { containers } = engine;
  const post = (action: string, handle: (id: string, call: Call) => Promise<Reply>): Route => ({
    method: 'POST',
    path: `/containers/:id/${action}`,
    handle: (call) => handle(call.param('id'), call),
  });
  return [
    post('start', async (id, call) => {
      call.query.refuse('checkpoint', 'checkpoint-dir');
      await refuseBody(call);
      return noContent((await containers.start(id)) ? 204 : 304);
    }),
    post('stop', async (id, call) =>
      noContent((await containers.stop(id, stopOptions(call.query))) ? 204 : 304),
    ),
    post('restart', async (id, call) => {
      await containers.restart(id, stopOptions(call.query));
      return noContent();
    }),
    post('kill', async (id, call) => {
      await containers.kill(id, call.query.optional('signal'));
      return noContent();
    }),
    post('pause', async (id) => {
      await containers.pause(id);
      return noContent();
    }),
    post('unpause', async (id) => {
      await containers.unpause(id);
      return noContent();
    }),
    post('resize', async (id, call) => {
      await containers.resize(id, terminalSize(call.query));
      return noContent(200);
    }),
    post('wait', (id, call) => wait(engine, id, call)),
  ];
}

/** Before API 1.24 a start could carry a HostConfig: it is not to be ignored silently. */
async function refuseBody(call: Call): Promise<void> {
  if ((await call.json()).names().length > 0)
    throw isleError('invalidParameter', {
      message:
        'starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24',
    });
}

function stopOptions(query: Query): { timeout?: number; signal?: string } {
  const timeout = query.integer('t');
  if (timeout !== undefined && timeout < -1)
    throw isleError('invalidParameter', {
      message: `t: ${timeout} is not a number of seconds (-1 waits for ever)`,
    });
  return { timeout, signal: query.optional('signal') };
}

/** `h` and `w` of resize. Throws `invalidParameter`. */
export function terminalSize(query: Query): TerminalSize {
  const size = (name: string): number => {
    const value = query.integer(name);
    if (value === undefined || value < 0 || value > 65535)
      throw isleError('invalidParameter', { message: `${name}: must be a number from 0 to 65535` });
    return value;
  };
  return { rows: size('h'), columns: size('w') };
}

/** The headers go out when the waiter is registered: the client starts the container only then. */
async function wait(engine: Engine, id: string, call: Call): Promise<Reply> {
  const condition = call.query.text('condition') || 'not-running';
  if (condition !== 'not-running' && condition !== 'next-exit' && condition !== 'removed')
    throw isleError('invalidParameter', { message: `invalid condition: "${condition}"` });
  const { exit } = engine.containers.wait(id, condition, call.signal);
  const response = call.stream('application/json');
  try {
    const { code, error } = await exit;
    response.end(`${JSON.stringify({ StatusCode: code, ...(error && { Error: { Message: error } }) })}\n`);
  } catch (error) {
    if (!call.signal.aborted) throw error;
  }
  return 'taken';
}

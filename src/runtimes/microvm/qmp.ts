import { connect, type Socket } from 'node:net';
import { isleError } from '../../lib/errors.ts';
import { socketPath } from './agent-path.ts';

/** Bytes of one answer that are believed. */
const maxAnswer = 256 * 1024;

/** Events before an answer. */
const mostEvents = 1000;

/** Milliseconds for QEMU to answer. */
const patience = 5000;

/**
 * Asks QEMU by its monitor protocol (https://www.qemu.org/docs/master/interop/qmp-spec.html) on a connection of its own,
 * one command after the other. Throws `guestGone` when it does not answer, `guestFailed` when it refuses.
 */
export async function withQmp<T>(
  path: string,
  use: (ask: (command: string, args?: object) => Promise<unknown>) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(patience);
  using found = await socketPath(path, signal);
  const socket = connect({ path: found.path });
  const answers = answersOf(socket);
  try {
    const ask = async (command: string, args: object = {}): Promise<unknown> => {
      socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
      return await answerTo(command, answers);
    };
    await next(answers);
    await ask('qmp_capabilities');
    return await use(ask);
  } finally {
    socket.destroy();
  }
}

type Answer = { return?: unknown; error?: { desc?: unknown }; event?: unknown };

/** The first that is no event; a QEMU that somebody has taken over may send those for ever. */
async function answerTo(command: string, answers: AsyncIterator<Answer>): Promise<unknown> {
  for (let events = 0; events < mostEvents; events++) {
    const answer = await next(answers);
    if (answer.error !== undefined)
      throw isleError('guestFailed', { what: command, detail: String(answer.error.desc).slice(0, 300) });
    if (answer.event === undefined) return answer.return;
  }
  throw isleError('guestGone', { what: `QEMU sends events instead of an answer to ${command}` });
}

async function next(answers: AsyncIterator<Answer>): Promise<Answer> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(isleError('guestGone', { what: 'QEMU does not answer' })), patience);
  try {
    const answer = await Promise.race([answers.next(), promise]);
    if (answer.done) throw isleError('guestGone', { what: 'QEMU closed its monitor' });
    return answer.value;
  } finally {
    clearTimeout(timer);
  }
}

/** Lines of JSON. Ends with the connection, or when QEMU sends anything else. */
async function* answersOf(socket: Socket): AsyncGenerator<Answer, undefined> {
  let rest = '';
  try {
    for await (const chunk of socket) {
      rest += String(chunk);
      if (rest.length > maxAnswer) return undefined;
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
        const value: unknown = JSON.parse(rest.slice(0, end));
        rest = rest.slice(end + 1);
        if (typeof value === 'object' && value !== null) yield value as Answer;
      }
    }
  } catch {
    // ECONNREFUSED, ECONNRESET, or no JSON: there is nothing more to hear.
  }
  return undefined;
}

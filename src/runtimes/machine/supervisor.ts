import { connect } from 'node:net';
import { socketPath } from '../../host/socket-path.ts';
import { isleError, messageOf } from '../../lib/errors.ts';

/** Milliseconds for an answer: it may wait for QEMU for two seconds itself. */
const patience = 10_000;

/**
 * Says one line to the supervisor (native/vmm/main.c), and returns what comes after `ok`. Throws `guestFailed` with its words when it
 * refuses, `guestGone` when it is not there.
 */
export async function askSupervisor(path: string, line: string): Promise<string> {
  let reply = '';
  try {
    const signal = AbortSignal.timeout(patience);
    using found = await socketPath(path, signal);
    const socket = connect({ path: found.path, signal });
    socket.write(`${line}\n`);
    for await (const chunk of socket.setEncoding('latin1')) reply += String(chunk);
  } catch (error) {
    throw isleError('guestGone', { what: `its supervisor: ${messageOf(error)}` }, error);
  }
  const answer = reply.trim();
  if (answer === 'ok' || answer.startsWith('ok ')) return answer.slice(3);
  if (answer === '') throw isleError('guestGone', { what: 'its supervisor' });
  throw isleError('guestFailed', { what: line, detail: answer.replace(/^error /, '').slice(0, 600) });
}

/** The generations that run, the current one first. */
export async function generationsOf(path: string): Promise<number[]> {
  return (await askSupervisor(path, 'list')).split(' ').map(Number);
}

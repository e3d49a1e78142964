import type { ServerResponse } from 'node:http';
import { messageOf } from '../../lib/errors.ts';
import type { Call } from './call.ts';
import { JsonLines } from './output.ts';
import type { Reply } from './reply.ts';

/**
 * Runs something that takes long and answers with JSON lines, which begin when `work` first asks for them, at the latest when
 * it is done. What fails before is answered by a status, after it by the line that `failure` makes of the message. A client
 * that goes away, or does not read, aborts the work.
 */
export async function withLines(
  call: Call,
  work: (open: () => JsonLines, signal: AbortSignal) => Promise<void>,
  failure: (message: string) => object,
): Promise<Reply> {
  const overflow = new AbortController();
  const signal = AbortSignal.any([call.signal, overflow.signal]);
  let response: ServerResponse | undefined;
  let lines: JsonLines | undefined;
  const open = (): JsonLines => {
    if (lines) return lines;
    response = call.stream('application/json');
    return (lines = new JsonLines(response, () => {
      overflow.abort(new DOMException('the client does not read', 'AbortError'));
      response?.destroy();
    }));
  };
  try {
    await work(open, signal);
    open();
  } catch (error) {
    if (!lines && !signal.aborted) throw error;
    if (!signal.aborted) lines?.send(failure(messageOf(error)));
  }
  const opened = response as ServerResponse | undefined;
  if (opened && !opened.destroyed) opened.end();
  return 'taken';
}

import type { ServerResponse } from 'node:http';
import { messageOf } from '../../lib/errors.ts';
import type { Call } from '../http/call.ts';
import { JsonLines } from '../http/output.ts';
import type { Reply } from '../http/reply.ts';

/** `what`: a disk, a file; bytes. */
export type WorkProgress = (what: string, done: number, total: number) => void;

/**
 * Runs something that takes long and answers with JSON lines: `{"progress": {"What", "Done", "Total"}}` …, then
 * `{"result": …}` or `{"error": {"message"}}`. What fails before the first line is answered by a status. A client that goes away
 * aborts the work, which undoes what it did.
 */
export async function withWork(
  call: Call,
  work: (onProgress: WorkProgress, signal: AbortSignal) => Promise<unknown>,
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
    const result = await work((what, done, total) => {
      if (signal.aborted) return;
      open().sendLatest(what, { progress: { What: what, Done: done, Total: total } });
    }, signal);
    open().send({ result: result ?? null });
  } catch (error) {
    if (!lines && !signal.aborted) throw error;
    if (!signal.aborted) lines?.send({ error: { message: messageOf(error) } });
  }
  const opened = response as ServerResponse | undefined;
  if (opened && !opened.destroyed) opened.end();
  return 'taken';
}

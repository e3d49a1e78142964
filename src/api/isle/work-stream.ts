import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import { withLines } from '../http/with-lines.ts';

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
  return await withLines(
    call,
    async (open, signal) => {
      const result = await work((what, done, total) => {
        if (signal.aborted) return;
        open().sendLatest(what, { progress: { What: what, Done: done, Total: total } });
      }, signal);
      open().send({ result: result ?? null });
    },
    (message) => ({ error: { message } }),
  );
}

import type { Progress } from '../../images/images.ts';
import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import { withLines } from '../http/with-lines.ts';

/**
 * Runs `work` and sends its progress as JSON lines. What fails before the first line is answered by a status, after
 * it by a line with `errorDetail`. A client that goes away aborts the work.
 */
export async function withProgress(
  call: Call,
  work: (send: (line: Progress) => void, signal: AbortSignal) => Promise<void>,
): Promise<Reply> {
  return await withLines(
    call,
    async (open, signal) => {
      await work((line) => {
        if (signal.aborted) return;
        // A bar's position is worth sending only when it is the newest.
        if (line.progressDetail?.current !== undefined && line.id) open().sendLatest(line.id, withText(line));
        else open().send(line);
      }, signal);
    },
    (message) => ({ errorDetail: { message }, error: message }),
  );
}

/** Old clients show this text as it is; new ones draw their own bar. */
function withText(line: Progress): Progress & { progress?: string } {
  const { current = 0, total } = line.progressDetail ?? {};
  if (!total) return line;
  const width = 50;
  const filled = Math.min(width, Math.floor((current / total) * width));
  const bar =
    filled === width ? '='.repeat(width) : `${'='.repeat(filled)}>${' '.repeat(width - filled - 1)}`;
  return { ...line, progress: `[${bar}]  ${megabytes(current)}/${megabytes(total)}` };
}

function megabytes(bytes: number): string {
  return bytes >= 1e6 ? `${(bytes / 1e6).toPrecision(4)}MB` : `${(bytes / 1e3).toPrecision(4)}kB`;
}

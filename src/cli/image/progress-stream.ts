import type { RequestOptions } from '../client/client.ts';
import type { ProgressLine } from '../client/types.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import type { Output } from '../terminal/output.ts';
import { progressView } from '../terminal/progress.ts';

export interface ProgressOptions {
  quiet: boolean;
  output: Output;
  /** What Ctrl-C says: nothing was left half done. */
  cancelled: string;
  /** Each line, before it is shown. */
  onLine?: (line: ProgressLine) => void;
}

/**
 * Posts, and shows the progress that comes back. Ctrl-C closes the request, which the engine takes as the end of
 * the work; exit code 130. An error in the stream becomes a failure.
 */
export async function followProgress(
  context: Context,
  path: string,
  request: RequestOptions,
  options: ProgressOptions,
): Promise<void> {
  const abort = new AbortController();
  const interrupt = () => abort.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const view = options.quiet ? undefined : progressView(options.output);
  try {
    const lines = context.client.lines<ProgressLine>('POST', path, { ...request, signal: abort.signal });
    for await (const line of lines) {
      const problem = line.errorDetail?.message ?? line.error;
      if (problem !== undefined) throw new Failure(problem);
      options.onLine?.(line);
      view?.update(line);
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    view?.end();
    throw new Failure(options.cancelled, { exitCode: 130 });
  } finally {
    view?.end();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

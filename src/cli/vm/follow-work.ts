import type { RequestOptions } from '../client/client.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { progressView } from '../terminal/progress.ts';

/** One line of a long operation's answer: src/api/isle/work-stream.ts. */
interface WorkLine<T> {
  progress?: { What: string; Done: number; Total: number };
  result?: T;
  error?: { message: string };
}

export interface WorkOptions {
  quiet?: boolean;
  /** What Ctrl-C says: nothing was left half done. */
  cancelled: string;
}

/**
 * Asks for something that takes long (an import, a backup, a migration), shows how far it is on stderr, and resolves
 * to its result. Ctrl-C closes the request, which ends the work and undoes it; exit code 130.
 */
export async function followWork<T>(
  context: Context,
  method: 'POST' | 'DELETE',
  path: string,
  request: RequestOptions,
  options: WorkOptions,
): Promise<T> {
  const abort = new AbortController();
  const interrupt = () => abort.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const view = options.quiet ? undefined : progressView(context.err);
  let result: { value: T } | undefined;
  try {
    const lines = context.client.lines<WorkLine<T>>(method, path, { ...request, signal: abort.signal });
    for await (const line of lines) {
      if (line.error !== undefined) throw new Failure(line.error.message);
      if ('result' in line) result = { value: line.result as T };
      const { progress } = line;
      if (progress)
        view?.update({
          id: progress.What,
          status: progress.Total > 0 && progress.Done >= progress.Total ? 'done' : 'working',
          progressDetail: { current: progress.Done, total: progress.Total },
        });
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
  if (!result) throw new Failure('the engine closed the connection before it was done');
  return result.value;
}

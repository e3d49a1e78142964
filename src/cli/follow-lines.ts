import type { RequestOptions } from './client/client.ts';
import type { Context } from './context.ts';
import { Failure } from './failure.ts';
import type { Output } from './terminal/output.ts';
import { progressView } from './terminal/progress.ts';

export interface FollowOptions {
  quiet: boolean;
  /** Where progress is shown. */
  output: Output;
  /** What Ctrl-C says: nothing was left half done. */
  cancelled: string;
}

/** Shows how far it is; absent when nobody shall be told. */
type View = ReturnType<typeof progressView> | undefined;

/**
 * Asks for something that takes long, and gives each line of its answer to `take`. Ctrl-C closes the request, which the
 * engine takes as the end of the work; exit code 130.
 */
export async function followLines<T>(
  { client }: Context,
  [method, path]: readonly ['POST' | 'DELETE', string],
  request: RequestOptions,
  { quiet, output, cancelled }: FollowOptions,
  take: (line: T, view: View) => void,
): Promise<void> {
  const abort = new AbortController();
  const interrupt = () => abort.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const view = quiet ? undefined : progressView(output);
  try {
    const lines = client.lines<T>(method, path, { ...request, signal: abort.signal });
    for await (const line of lines) take(line, view);
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    view?.end();
    throw new Failure(cancelled, { exitCode: 130 });
  } finally {
    view?.end();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

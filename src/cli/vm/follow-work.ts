import type { RequestOptions } from '../client/client.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { followLines } from '../follow-lines.ts';

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
  const shown = { quiet: options.quiet ?? false, output: context.err, cancelled: options.cancelled };
  let result: { value: T } | undefined;
  await followLines<WorkLine<T>>(context, [method, path], request, shown, (line, view) => {
    if (line.error !== undefined) throw new Failure(line.error.message);
    if ('result' in line) result = { value: line.result as T };
    const { progress } = line;
    if (progress)
      view?.update({
        id: progress.What,
        status: progress.Total > 0 && progress.Done >= progress.Total ? 'done' : 'working',
        progressDetail: { current: progress.Done, total: progress.Total },
      });
  });
  const done = result as { value: T } | undefined;
  if (!done) throw new Failure('the engine closed the connection before it was done');
  return done.value;
}

import type { RequestOptions } from '../client/client.ts';
import type { ProgressLine } from '../client/types.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { followLines, type FollowOptions } from '../follow-lines.ts';

export interface ProgressOptions extends FollowOptions {
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
  await followLines<ProgressLine>(context, ['POST', path], request, options, (line, view) => {
    const problem = line.errorDetail?.message ?? line.error;
    if (problem !== undefined) throw new Failure(problem);
    options.onLine?.(line);
    view?.update(line);
  });
}

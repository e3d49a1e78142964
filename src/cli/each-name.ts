import { ApiError } from './client/errors.ts';
import type { Context } from './context.ts';
import { Failure } from './failure.ts';
import { withSpinner } from './terminal/spinner.ts';
import { messageOf } from '../lib/errors.ts';

/**
 * Does one thing to each of `names`, several at a time, and prints each name (or what the action says, nothing for
 * null) when it is done, in the order given; one that takes long is named on a terminal, with what is being done. Those that fail are named on stderr; exit code 1 when any did.
 */
export async function eachName(
  context: Context,
  names: readonly string[],
  action: (name: string) => Promise<string | void | null>,
  doing = 'working on',
): Promise<number> {
  const pending = [...names.entries()];
  const outcomes = names.map(() => Promise.withResolvers<string | null>());
  for (const { promise } of outcomes) promise.catch(() => {});
  const worker = async () => {
    for (let next = pending.shift(); next; next = pending.shift()) {
      const [at, name] = next;
      try {
        const said = await action(name);
        outcomes[at]!.resolve(said === undefined ? name : said);
      } catch (error) {
        outcomes[at]!.reject(error as Error);
      }
    }
  };
  const workers = Promise.all(Array.from({ length: Math.min(16, names.length) }, worker));
  let code = 0;
  for (const [at, { promise }] of outcomes.entries()) {
    try {
      const said = await withSpinner(context.err, `${doing} ${names[at]}`, promise, 1000);
      if (said !== null) context.out.line(said);
    } catch (error) {
      // Alone, it gets a hint and its own exit code; an engine that does not run is said once.
      if (names.length === 1 || (error instanceof Failure && !(error instanceof ApiError))) throw error;
      context.err.foreign(`isle: ${messageOf(error)}`);
      code = 1;
    }
  }
  await workers;
  return code;
}

/** `/containers/<id>` with the name made safe for a path. */
export function containerPath(name: string): string {
  return `/containers/${encodeURIComponent(name)}`;
}

export function snapshotsPath(container: string): string {
  return `/isle/v1${containerPath(container)}/snapshots`;
}

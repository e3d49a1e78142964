import type { Context } from './context.ts';
import { ApiError } from './client/errors.ts';
import { Failure } from './failure.ts';
import { boolean, text } from './flags.ts';
import { imagePath } from './image/path.ts';

export type Kind = 'container' | 'image' | 'network' | 'volume';

export const inspectFlags = {
  format: text("'json', or a Go template such as '{{.State.Status}}'", { short: 'f' }),
} as const;

export const sizeFlag = boolean('Sizes of containers on disk', { short: 's' });

const paths: Record<Kind, (name: string) => string> = {
  container: (name) => `/containers/${encodeURIComponent(name)}/json`,
  image: (name) => `${imagePath(name)}/json`,
  network: (name) => `/networks/${encodeURIComponent(name)}`,
  volume: (name) => `/volumes/${encodeURIComponent(name)}`,
};

/**
 * Prints all that is known of each name: as one JSON array, or through the template line by line. What is not
 * found is said on stderr after the rest; exit code 1.
 */
export async function inspect(
  { client, out, err }: Context,
  names: readonly string[],
  kinds: readonly Kind[],
  options: { format: string | undefined; query?: Record<string, boolean | string | undefined> },
): Promise<number> {
  const found: unknown[] = [];
  const problems: Error[] = [];
  for (const name of names) {
    try {
      found.push(await lookUp(name));
    } catch (error) {
      if (!(error instanceof ApiError) && !(error instanceof Missing)) throw error;
      problems.push(error);
    }
  }

  async function lookUp(name: string): Promise<unknown> {
    for (const kind of kinds) {
      try {
        return await client.get(paths[kind](name), kind === 'container' ? options.query : undefined);
      } catch (error) {
        // The words of the engine where it can only be one kind of thing.
        if (!(error instanceof ApiError) || error.status !== 404 || kinds.length === 1) throw error;
      }
    }
    throw new Missing(`No such object: ${name}`);
  }

  const { format } = options;
  // Nothing found is an empty array, so that what reads it has JSON to read.
  if (format === undefined || format === '') out.line(JSON.stringify(found, null, 4));
  else if (format === 'json') out.line(JSON.stringify(found));
  else {
    const { compileTemplate } = await import('./template/template.ts');
    const render = compileTemplate(format);
    for (const body of found) out.foreign(render(body));
  }
  const [problem] = problems;
  if (problem && names.length === 1) throw problem;
  for (const { message } of problems) err.line(`isle: ${message}`);
  return problem ? 1 : 0;
}

class Missing extends Failure {}

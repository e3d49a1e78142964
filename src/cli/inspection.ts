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
  const missing: string[] = [];
  for (const name of names) {
    const body = await lookUp(name);
    if (body === undefined) missing.push(name);
    else found.push(body);
  }

  async function lookUp(name: string): Promise<unknown> {
    for (const kind of kinds) {
      try {
        return await client.get(paths[kind](name), kind === 'container' ? options.query : undefined);
      } catch (error) {
        if (
          !(error instanceof ApiError) ||
          error.status !== 404 ||
          (kinds.length === 1 && names.length === 1)
        )
          throw error;
      }
    }
    return undefined;
  }

  const { format } = options;
  if (format === undefined || format === '') out.line(JSON.stringify(found, null, 4));
  else if (format === 'json') out.line(JSON.stringify(found));
  else {
    const { compileTemplate } = await import('./template/template.ts');
    const render = compileTemplate(format);
    for (const body of found) out.line(render(body));
  }
  if (missing.length === 0) return 0;
  const what = kinds.length === 1 ? kinds[0] : 'object';
  if (missing.length === 1 && names.length === 1) throw new Failure(`No such ${what}: ${missing[0]}`);
  for (const name of missing) err.line(`isle: No such ${what}: ${name}`);
  return 1;
}

import { formatSum } from './words.ts';
import type { Client } from './client/client.ts';
import type { Context } from './context.ts';
import { encodeFilters } from './filters.ts';
import { confirm } from './terminal/prompt.ts';
import { withSpinner } from './terminal/spinner.ts';

export interface Pruned {
  title: string;
  removed: string[];
  bytes?: number;
}

export interface Prune {
  force: boolean;
  /** What will be gone. */
  question: string;
  run: (client: Client) => Promise<Pruned[]>;
}

/** Asks (unless forced), prunes, and says what went. */
export async function prune(context: Context, { force, question, run }: Prune): Promise<number> {
  const { client, out, err } = context;
  if (
    !force &&
    !(await confirm(err, `${err.paint.yellow('WARNING!')} ${question}\nAre you sure you want to continue?`))
  )
    return 1;
  const pruned = await withSpinner(err, 'removing', run(client));
  for (const { title, removed } of pruned) {
    if (removed.length === 0) continue;
    out.line(`${title}:`);
    for (const one of removed) out.line(one);
    out.line();
  }
  const bytes = pruned.reduce((sum, one) => sum + (one.bytes ?? 0), 0);
  if (pruned.some((one) => one.bytes !== undefined)) out.line(`Total reclaimed space: ${formatSum(bytes)}`);
  return 0;
}

export async function pruneImages(
  client: Client,
  all: boolean,
  filters: Parameters<typeof encodeFilters>[0],
): Promise<Pruned> {
  const answer = await client.post<{
    ImagesDeleted: { Untagged?: string; Deleted?: string }[] | null;
    SpaceReclaimed: number;
  }>('/images/prune', {
    query: { filters: encodeFilters([...filters, ['dangling', all ? 'false' : 'true']]) },
  });
  return {
    title: 'Deleted Images',
    removed: (answer.ImagesDeleted ?? []).map((one) =>
      one.Untagged === undefined ? `deleted: ${one.Deleted}` : `untagged: ${one.Untagged}`,
    ),
    bytes: answer.SpaceReclaimed,
  };
}

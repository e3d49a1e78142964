import type { Client } from '../client/client.ts';
import { ApiError } from '../client/errors.ts';
import type { ContainerSummary } from '../client/types.ts';
import { roleLabel, runLabel } from './labels.ts';
import { removeVolumes } from './volumes.ts';

/** Seconds that a comparison may take from its first container to that container's start. */
const beginning = 60;

/**
 * Removes what comparisons left behind whose client was killed. A comparison's peer lives as long as its client (it ends
 * with its input), so whoever has a running peer, or has only just begun, is left alone. Returns the ids of
 * containers and the names of volumes.
 */
export async function removeLeftovers(
  client: Client,
  now = Date.now(),
): Promise<{ containers: string[]; volumes: string[] }> {
  const rows = await client.get<ContainerSummary[]>('/containers/json', {
    all: true,
    filters: JSON.stringify({ label: [runLabel] }),
  });
  const stale = staleContainers(rows, now);
  const removed = await Promise.all(
    stale.map(async (id) => {
      try {
        await client.delete(`/containers/${id}`, { force: true, v: true });
        return [id];
      } catch (error) {
        // Somebody else was faster.
        if (error instanceof ApiError && (error.status === 404 || error.status === 409)) return [];
        throw error;
      }
    }),
  );
  const gone = new Set(stale);
  const alive = new Set(rows.filter((row) => !gone.has(row.Id)).map((row) => row.Labels?.[runLabel]));
  const volumes = await removeVolumes(client, 'all', ({ Labels }) => alive.has(Labels?.[runLabel]));
  return { containers: removed.flat(), volumes };
}

type Row = Pick<ContainerSummary, 'Id' | 'Names' | 'State' | 'Created' | 'Labels'>;

/** Ids of the containers whose comparison has no client any more. */
export function staleContainers(rows: readonly Row[], now: number): string[] {
  const runs = Map.groupBy(rows.filter(isOurs), (row) => row.Labels?.[runLabel] ?? '');
  return [...runs.values()]
    .filter((run) => {
      const peer = run.find((row) => row.Labels?.[roleLabel] === 'peer');
      if (peer?.State === 'running') return false;
      const begun = peer === undefined || peer.State === 'created';
      return !begun || run.every((row) => now / 1000 - row.Created > beginning);
    })
    .flatMap((run) => run.map((row) => row.Id));
}

/** A label alone may come from an image, such as one that was committed from a comparison's container. */
function isOurs({ Names: [name = ''], Labels: labels }: Row): boolean {
  const run = labels?.[runLabel] ?? '';
  return /^[0-9a-f]{8}$/.test(run) && name.startsWith(`/compare-${run}-`);
}

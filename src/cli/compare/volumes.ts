import type { Client } from '../client/client.ts';
import { ApiError } from '../client/errors.ts';
import type { VolumeBody } from '../client/types.ts';
import type { Bench, Body } from './bench.ts';
import { runLabel } from './labels.ts';

/**
 * Makes the named volumes of the call that do not exist, so that they are known to be the comparison's own and go with
 * it. Volumes that exist are used as they are, and stay.
 */
export async function makeVolumes(bench: Bench, body: Body): Promise<void> {
  for (const name of namedVolumes(body)) {
    if (await exists(bench.client, name)) continue;
    await bench.client.post('/volumes/create', { body: { Name: name, Labels: { [runLabel]: bench.id } } });
  }
}

/** Removes the volumes of the comparison `run`; `all`: of every one. Those that somebody uses by now stay. */
export async function removeVolumes(
  client: Client,
  run: string,
  keep: (volume: VolumeBody) => boolean = () => false,
): Promise<string[]> {
  const label = run === 'all' ? runLabel : `${runLabel}=${run}`;
  const { Volumes } = await client.get<{ Volumes: VolumeBody[] | null }>('/volumes', {
    filters: JSON.stringify({ label: [label] }),
  });
  const removed: string[] = [];
  for (const volume of Volumes ?? []) {
    if (keep(volume)) continue;
    try {
      await client.delete(`/volumes/${encodeURIComponent(volume.Name)}`);
      removed.push(volume.Name);
    } catch (error) {
      if (!(error instanceof ApiError && (error.status === 404 || error.status === 409))) throw error;
    }
  }
  return removed;
}

/** Names in `-v NAME:PATH` and `--mount type=volume,source=NAME`, unless the mount says more about how to make it. */
export function namedVolumes({ HostConfig: host }: Pick<Body, 'HostConfig'>): string[] {
  const binds = (host.Binds as string[] | undefined) ?? [];
  const mounts =
    (host.Mounts as { Type?: string; Source?: string; VolumeOptions?: object }[] | undefined) ?? [];
  const named = [
    ...binds.map((bind) => bind.split(':')[0] ?? ''),
    ...mounts
      .filter(({ Type, VolumeOptions }) => Type === 'volume' && VolumeOptions === undefined)
      .map(({ Source }) => Source ?? ''),
  ];
  return [...new Set(named)].filter((name) => name !== '' && !name.startsWith('/'));
}

async function exists(client: Client, name: string): Promise<boolean> {
  try {
    await client.get(`/volumes/${encodeURIComponent(name)}`);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}

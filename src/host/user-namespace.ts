import { errnoOf } from '../lib/errors.ts';
import { nativeCalls } from './native.ts';

const calls = nativeCalls<{
  usernsFd(uidMap: string, gidMap: string): Promise<number>;
  usernsOfNetwork(path: string, uidMap: string, gidMap: string): Promise<number>;
}>()('usernsFd', 'usernsOfNetwork');

/** One range of ids: `size` ids from `container` inside are those from `host` outside. */
export interface IdRange {
  container: number;
  host: number;
  size: number;
}

/** A descriptor of a new user namespace with these maps, for idmapped mounts. The caller closes it. */
export function usernsFd(uids: readonly IdRange[], gids: readonly IdRange[]): Promise<number> {
  return calls.usernsFd(mapText(uids), mapText(gids));
}

/** A map of one range that starts at 0 inside: users and groups alike. */
export interface PlainMap {
  hostId: number;
  size: number;
}

/** {@link usernsFd} with a plain map. */
export function usernsFdOf(map: PlainMap): Promise<number> {
  return calls.usernsFd(plainText(map), plainText(map));
}

/**
 * A descriptor of the user namespace that owns the network namespace at `path`; when that has no maps yet, it gets this one.
 * Undefined when it has another, or is the host's. The caller closes it.
 */
export async function usernsOfNetwork(path: string, map: PlainMap): Promise<number | undefined> {
  try {
    return await calls.usernsOfNetwork(path, plainText(map), plainText(map));
  } catch (error) {
    if (errnoOf(error) === 'EXDEV') return undefined;
    throw error;
  }
}

function plainText({ hostId, size }: PlainMap): string {
  return mapText([{ container: 0, host: hostId, size }]);
}

function mapText(ranges: readonly IdRange[]): string {
  return ranges.map((range) => `${range.container} ${range.host} ${range.size}\n`).join('');
}

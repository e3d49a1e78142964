import { nativeCalls } from './native.ts';

const calls = nativeCalls<{ usernsFd(uidMap: string, gidMap: string): Promise<number> }>()('usernsFd');

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

/** The same for one range that starts at 0 inside: users and groups alike. */
export function usernsFdOf({ hostId, size }: { hostId: number; size: number }): Promise<number> {
  const range = [{ container: 0, host: hostId, size }];
  return usernsFd(range, range);
}

function mapText(ranges: readonly IdRange[]): string {
  return ranges.map((range) => `${range.container} ${range.host} ${range.size}\n`).join('');
}

import { nativeCalls } from './native.ts';

interface Calls {
  createNetns(path: string, loopbackUp: number): Promise<void>;
  socketIn(netns: string, domain: number, type: number, protocol: number): Promise<number>;
  socketInSync(netns: string, domain: number, type: number, protocol: number): number;
  readFileInSync(netns: string, path: string): Buffer;
  readFileIn(netns: string, path: string): Promise<Buffer>;
  writeFileIn(netns: string, path: string, content: string): Promise<void>;
  usernsFd(uidMap: string, gidMap: string): Promise<number>;
}

const calls = nativeCalls<Calls>()('createNetns', 'socketIn', 'readFileIn', 'writeFileIn', 'usernsFd');

/**
 * Makes a network namespace and keeps it alive by a mount on the new file `path` (EEXIST when there is one).
 * To end it: `unmount(path, { detach: true })`, then unlink. Its `lo` is up unless asked otherwise.
 */
export function createNetns(path: string, options: { loopbackUp?: boolean } = {}): Promise<void> {
  return calls.createNetns(path, options.loopbackUp === false ? 0 : 1);
}

/** Numbers of socket(2). */
export const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16, packet: 17 } as const;
export const SOCK = { stream: 1, dgram: 2, raw: 3, seqpacket: 5 } as const;

/** Opens a socket in another network namespace; it belongs to that one for good. The caller closes the descriptor. */
export function socketIn(netns: string, domain: number, type: number, protocol: number): Promise<number> {
  return calls.socketIn(netns, domain, type, protocol);
}

/**
 * Reads a file under /proc/sys/net (`net.ipv4.ip_forward` or a path) or /proc/thread-self/net as the namespace
 * has it. At most 1 MiB.
 */
export async function readInNetns(netns: string, name: string): Promise<string> {
  return (await calls.readFileIn(netns, procPath(name))).toString();
}

/** Sets a `net.*` sysctl of the namespace. */
export function writeInNetns(netns: string, name: string, value: string): Promise<void> {
  return calls.writeFileIn(netns, procPath(name), value);
}

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

function mapText(ranges: readonly IdRange[]): string {
  return ranges.map((range) => `${range.container} ${range.host} ${range.size}\n`).join('');
}

function procPath(name: string): string {
  if (name.startsWith('/')) return name;
  // A dot separates; a slash stands for a dot in an interface's name, as sysctl(8) has it.
  const path = name.replace(/[./]/g, (separator) => (separator === '.' ? '/' : '.'));
  return `/proc/sys/${path}`;
}

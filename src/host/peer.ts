import type { Socket } from 'node:net';
import { nativeCalls } from './native.ts';

const calls = nativeCalls<{ peerCredentialsSync(fd: number): Buffer }>()('peerCredentialsSync');

/** The process at the other end of a unix socket, as it was when it connected. */
export interface Peer {
  pid: number;
  uid: number;
  gid: number;
}

/** SO_PEERCRED of a connected unix socket (a node:net socket, or a descriptor); undefined once it is closed. */
export function peerOf(socket: Socket | number): Peer | undefined {
  const fd = typeof socket === 'number' ? socket : descriptorOf(socket);
  if (fd === undefined || fd < 0) return undefined;
  const raw = calls.peerCredentialsSync(fd);
  return { pid: raw.readUInt32LE(0), uid: raw.readUInt32LE(4), gid: raw.readUInt32LE(8) };
}

/** node:net keeps the descriptor on its handle, undocumented but stable since its beginning. */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const fd: unknown = Reflect.get(handle, 'fd');
  return typeof fd === 'number' ? fd : undefined;
}

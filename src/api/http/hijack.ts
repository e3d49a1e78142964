import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Connections } from './connections.ts';

/**
 * Takes a connection out of HTTP's hands, for attach and exec: from here on it is a plain stream both ways, and
 * either way can end alone. With `Upgrade: tcp` the answer is 101 UPGRADED, else 200 and the raw stream.
 *
 * Bytes that a client without `Upgrade` sends before it has seen the 200 are lost: they reached the HTTP parser.
 */
export function hijack(
  request: IncomingMessage,
  response: ServerResponse,
  connections: Connections,
  contentType: string,
): Duplex {
  const upgrade = connections.upgrade(request);
  const stream = upgrade?.stream ?? request.socket;
  letGo(response, stream);
  if (!upgrade) leaveHttp(request, request.socket);
  request.socket.setTimeout(0);
  connections.streams(stream);
  // A reset by the client ends the streams through 'close'; unheard, it would end the daemon.
  stream.on('error', () => stream.destroy());
  stream.write(
    upgrade
      ? `HTTP/1.1 101 UPGRADED\r\nContent-Type: ${contentType}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`
      : `HTTP/1.1 200 OK\r\nContent-Type: ${contentType}\r\n\r\n`,
  );
  if (upgrade && upgrade.head.length > 0) stream.unshift(upgrade.head);
  return stream;
}

/** Takes the response off its socket, where it still is: Node does so itself when a body comes after the upgrade. */
export function letGo(response: ServerResponse, socket: Duplex): void {
  if (Reflect.get(socket, '_httpMessage') === response) response.detachSocket(socket as Socket);
}

/** The face of Node's HTTP parser as far as letting go of it needs; each member may be absent in another Node. */
interface Parser {
  unconsume?(): void;
  remove?(): void;
  close?(): void;
}

/** What `http` does itself for an upgrade: its listeners go, and its parser no longer reads the socket. */
function leaveHttp(request: IncomingMessage, socket: Socket & { parser?: Parser | null }): void {
  const parser = socket.parser;
  for (const event of ['data', 'end', 'close', 'drain', 'error', 'timeout', 'resume', 'pause', 'readable'])
    socket.removeAllListeners(event);
  if (parser) {
    parser.unconsume?.();
    parser.remove?.();
    setImmediate(() => parser.close?.());
    socket.parser = null;
  }
  // `http` replaced the socket's `on` to notice new listeners; the prototype's is the plain one.
  Reflect.deleteProperty(socket, 'on');
  Reflect.deleteProperty(socket, 'addListener');
  Reflect.deleteProperty(socket, 'prependListener');
  Reflect.deleteProperty(socket, 'setEncoding');
  Reflect.set(request, 'parser', null);
  socket.resume();
  socket.pause();
}

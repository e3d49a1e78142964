import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/** What Node's `upgrade` event gives. The stream is the socket, or stands for it while a body is still to come. */
export interface Upgrade {
  stream: Duplex;
  head: Buffer;
}

/**
 * What is known of requests besides their headers: the API version their path named, and the bytes that came
 * with a protocol upgrade. Also every connection that carries a stream, to end it at shutdown.
 */
export class Connections {
  readonly #versions = new WeakMap<IncomingMessage, string>();
  readonly #upgrades = new WeakMap<IncomingMessage, Upgrade>();
  readonly #streams = new Set<Duplex>();
  readonly #overTcp = new WeakSet<Duplex>();

  setVersion(request: IncomingMessage, version: string): void {
    this.#versions.set(request, version);
  }

  version(request: IncomingMessage): string | undefined {
    return this.#versions.get(request);
  }

  setUpgrade(request: IncomingMessage, upgrade: Upgrade): void {
    this.#upgrades.set(request, upgrade);
  }

  upgrade(request: IncomingMessage): Upgrade | undefined {
    return this.#upgrades.get(request);
  }

  /** Noted when it comes: of a connection that was reset, the kernel no longer tells what it was. */
  setTcp(socket: Duplex): void {
    this.#overTcp.add(socket);
  }

  isTcp(socket: Duplex): boolean {
    return this.#overTcp.has(socket);
  }

  /** A connection that carries a stream without an end of its own. */
  streams(socket: Duplex): void {
    if (this.#streams.has(socket)) return;
    this.#streams.add(socket);
    socket.once('close', () => this.#streams.delete(socket));
  }

  destroyStreams(): void {
    for (const socket of this.#streams) socket.destroy();
  }
}

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

/**
 * What is known of requests besides their headers: the API version their path named, and the bytes that came
 * with a protocol upgrade. Also every connection that was taken out of HTTP's hands, to end it at shutdown.
 */
export class Connections {
  readonly #versions = new WeakMap<IncomingMessage, string>();
  readonly #upgrades = new WeakMap<IncomingMessage, Buffer>();
  readonly #hijacked = new Set<Socket>();

  setVersion(request: IncomingMessage, version: string): void {
    this.#versions.set(request, version);
  }

  version(request: IncomingMessage): string | undefined {
    return this.#versions.get(request);
  }

  setUpgrade(request: IncomingMessage, head: Buffer): void {
    this.#upgrades.set(request, head);
  }

  upgrade(request: IncomingMessage): Buffer | undefined {
    return this.#upgrades.get(request);
  }

  hijacked(socket: Socket): void {
    this.#hijacked.add(socket);
    socket.once('close', () => this.#hijacked.delete(socket));
  }

  destroyAll(): void {
    for (const socket of this.#hijacked) socket.destroy();
  }
}

import { nativeCalls } from './native.ts';
import { createPoll, type Poll, READABLE } from './poll.ts';
import { systemError } from './system-error.ts';

/**
 * A packet socket (`NetworkJob.packets`) on the event loop: whole frames in and out. It takes at most `rate` frames a second
 * (and as many at once); what comes beyond that waits in the kernel, and is lost there when it is too much.
 */
export interface PacketSocketOptions {
  rate: number;
  onFrame(frame: Buffer): void;
  /** It is closed then. */
  onError(error: Error): void;
}

export class PacketSocket {
  #fd: number;
  readonly #options: PacketSocketOptions;
  readonly #poll: Poll;
  #credit: number;
  #creditAt = performance.now();
  #rest: NodeJS.Timeout | undefined;

  /** The descriptor is the socket's from now on. */
  constructor(fd: number, options: PacketSocketOptions) {
    this.#fd = fd;
    this.#options = options;
    this.#credit = options.rate;
    this.#poll = createPoll(fd, (_events, status) => this.#receive(status));
    this.#poll.unref();
    this.#poll.start(READABLE);
  }

  /** A frame that the kernel does not take now is lost, as on any network. */
  send(frame: Buffer): void {
    if (this.#fd >= 0) calls.send(this.#fd, frame, 0, frame.length);
  }

  close(): void {
    if (this.#fd < 0) return;
    clearTimeout(this.#rest);
    this.#poll.close();
    calls.closeFdSync(this.#fd);
    this.#fd = -1;
  }

  #receive(status: number): void {
    if (status < 0) return this.#fail(-status);
    for (this.#earn(); this.#credit >= 1 && this.#fd >= 0; this.#credit--) {
      const frame = calls.receive(this.#fd);
      if (typeof frame !== 'number') this.#options.onFrame(frame);
      // The link went down: it may come up again.
      else if (frame === ENETDOWN) continue;
      else if (frame === EAGAIN || frame === 0) return;
      else return this.#fail(-frame);
    }
    if (this.#fd >= 0) this.#pause();
  }

  #earn(): void {
    const now = performance.now();
    const { rate } = this.#options;
    this.#credit = Math.min(rate, this.#credit + ((now - this.#creditAt) / 1000) * rate);
    this.#creditAt = now;
  }

  #pause(): void {
    this.#poll.start(0);
    this.#rest = setTimeout(() => this.#poll.start(READABLE), 100);
    this.#rest.unref();
  }

  #fail(errno: number): void {
    this.close();
    this.#options.onError(systemError(errno, 'recv'));
  }
}

interface Calls {
  closeFdSync(fd: number): void;
  receive(fd: number): Buffer | number;
  send(fd: number, buffer: Buffer, offset: number, length: number): number;
}

const calls = nativeCalls<Calls>()('receive', 'send', 'closeFdSync');

const EAGAIN = -11;
const ENETDOWN = -100;

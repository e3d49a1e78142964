import { nativeCalls } from './native.ts';
import { align, join, type Message } from './netlink-message.ts';

const calls = nativeCalls<{ networkJob(script: Buffer): Promise<Buffer> }>()('networkJob');

export interface JobSocket {
  family: 'ipv4' | 'ipv6';
  type: 'tcp' | 'udp' | 'sctp';
  /** 4 or 16 bytes. */
  address: Buffer;
  /** 0: the kernel chooses. */
  port: number;
  /** Keep the port from everyone else without serving it. */
  hold?: boolean;
  /** Serve both families when false (IPv6 only). */
  v6Only?: boolean;
  listen?: boolean;
}

export interface JobResult {
  /** What the kernel answered to each netlink step, in order. */
  replies: Buffer[];
  /** The sockets made, in order. They are the caller's to close. */
  sockets: { fd: number; port: number }[];
}

/**
 * A list of steps on the network that runs on one thread of its own, as fast as the kernel does them, and never
 * on the main one. Steps run in order and stop at the first that fails, which rejects with a system error;
 * sockets and the namespace that the job made are then gone again, but links and rules are not.
 *
 * @example
 * await new NetworkJob().create(path).route([linkUp('lo')]).host().route([…]).run();
 */
export class NetworkJob {
  #parts: Buffer[] = [];
  #outputs: ('reply' | 'socket')[] = [];

  /** Further steps act in the network namespace mounted at `path`; it becomes the inner one. */
  enter(path: string): this {
    return this.#step(1, string(path));
  }

  /** The namespace mounted at `path` becomes the inner one; further steps act where they did before. */
  target(path: string): this {
    return this.#step(9, string(path));
  }

  /**
   * Makes a namespace, mounted on the new file `path` (EEXIST when there is one), and goes in. `ownUser`: it belongs to a
   * new user namespace, whose maps are still to be written (see `usernsOfNetwork`).
   */
  create(path: string, { ownUser = false }: { ownUser?: boolean } = {}): this {
    return this.#step(2, string(path), word(ownUser ? 1 : 0));
  }

  /** Further steps act in the daemon's own namespace. */
  host(): this {
    return this.#step(3);
  }

  /** Back to the inner namespace. */
  inner(): this {
    return this.#step(4);
  }

  /** rtnetlink requests, in one system call. */
  route(messages: readonly Message[], options: { tolerate?: boolean } = {}): this {
    return this.#netlink(0, messages, options.tolerate ?? false);
  }

  /** nfnetlink requests (nftables, conntrack), in one system call. */
  netfilter(messages: readonly Message[], options: { tolerate?: boolean } = {}): this {
    return this.#netlink(12, messages, options.tolerate ?? false);
  }

  /** Sets a file under /proc/sys as the current namespace has it. */
  write(path: string, value: string, options: { optional?: boolean } = {}): this {
    return this.#step(6, string(path), word(options.optional ? 1 : 0), string(value));
  }

  /**
   * Makes a tap (with `vnet_hdr`) in the current namespace that stays until it is deleted; the user `owner` of the host
   * may open it by its name. EBUSY when it exists and is in use; one that is not gets the new owner.
   */
  tap(name: string, owner: number): this {
    return this.#step(10, string(name), word(owner));
  }

  /** Binds a non-blocking socket in the current namespace. */
  socket(spec: JobSocket): this {
    const protocol = spec.type === 'sctp' ? 132 : 0;
    const flags =
      (spec.hold ? 1 : 0) | ((spec.v6Only ?? true) && spec.family === 'ipv6' ? 2 : 0) | (spec.listen ? 4 : 0);
    this.#outputs.push('socket');
    return this.#step(
      7,
      word(spec.family === 'ipv4' ? 2 : 10),
      word(spec.type === 'udp' ? 2 : 1),
      word(protocol),
      word(spec.port),
      word(flags),
      data(spec.address),
    );
  }

  /**
   * A socket that gets and sends whole frames at a link of the current namespace; of what comes in, what `filter` takes
   * (classic BPF, instructions of 8 bytes), before any rule of nftables sees it.
   */
  packets(link: string, filter: Buffer): this {
    this.#outputs.push('socket');
    return this.#step(11, string(link), data(filter));
  }

  /** A netlink socket of the current namespace that gets notifications; `groups` is a bit mask. */
  listenNetlink(protocol: number, groups: number): this {
    this.#outputs.push('socket');
    return this.#step(7, word(16), word(3), word(protocol), word(groups), word(0), data(Buffer.alloc(0)));
  }

  /** Ends the namespace mounted at `path` as soon as nothing uses it; gone already is fine. */
  remove(path: string): this {
    return this.#step(8, string(path));
  }

  async run(): Promise<JobResult> {
    const output = await calls.networkJob(Buffer.concat(this.#parts));
    const result: JobResult = { replies: [], sockets: [] };
    let at = 0;
    for (const kind of this.#outputs) {
      const length = output.readUInt32LE(at);
      const value = output.subarray(at + 4, at + 4 + length);
      if (kind === 'reply') result.replies.push(value);
      else result.sockets.push({ fd: value.readUInt32LE(0), port: value.readUInt32LE(4) });
      at += 4 + length;
    }
    return result;
  }

  #netlink(protocol: number, messages: readonly Message[], tolerate: boolean): this {
    if (messages.length === 0) return this;
    const { bytes, patches } = join(messages);
    this.#outputs.push('reply');
    this.#step(5, word(protocol), word(tolerate ? 1 : 0), data(bytes), word(patches.length));
    for (const { at, value } of patches) {
      if (value === 'innerFd') this.#parts.push(word(at), word(1), string(''));
      else this.#parts.push(word(at), word(2), string(value.ifindexOf));
    }
    return this;
  }

  #step(code: number, ...fields: Buffer[]): this {
    this.#parts.push(word(code), ...fields);
    return this;
  }
}

function word(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0);
  return out;
}

function data(value: Buffer): Buffer {
  return Buffer.concat([word(value.length), value], 4 + align(value.length));
}

function string(value: string): Buffer {
  return data(Buffer.from(value));
}

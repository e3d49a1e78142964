import { createSocket, type RemoteInfo } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import type { Family } from '../../lib/address.ts';
import type { Logger } from '../../lib/log.ts';
import { type Names } from './names.ts';
import {
  RCODE,
  TYPE,
  answer,
  fit,
  parseQuery,
  reverseAddress,
  type AnswerRecord,
  type Query,
} from './query.ts';
import { askUpstream, withLength, type Upstream } from './upstream.ts';

const MAX_WAITING_PER_POD = 128;
const MAX_CONNECTIONS_PER_POD = 32;
const TCP_IDLE_MS = 10_000;

export interface ResolverOptions {
  names: Names;
  /** Servers for outside names; none for a pod that has no way out. */
  upstreams: (podId: string) => Upstream[];
  /** Whether the address belongs to this network's subnets. */
  inSubnet: (networkId: string, address: string) => boolean;
  /** '' for none. Names without a dot are asked for in it by guests that know their domain. */
  domainOf: (podId: string) => string;
  log: Logger;
}

/** Descriptors. */
export interface ResolverSockets {
  udp: number;
  tcp: number;
  family?: Family;
}

interface OpenPod {
  waiting: number;
  abort: AbortController;
  /** By place: closes what is open there. */
  ends: Map<string, () => void>;
}

/**
 * Answers names inside pods, through sockets that live in the pods' namespaces but belong to this process. What a
 * pod sends is hostile: packets are bounded, one question gets one answer no larger than its sender asked for, and
 * only so many wait at a time.
 */
export class Resolver {
  readonly #options: ResolverOptions;
  readonly #open = new Map<string, OpenPod>();

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  /**
   * Serves the pod on these descriptors, which are the resolver's from now on, instead of those it had `at` that place: its
   * own, or one of its guest's cards.
   */
  serve(podId: string, sockets: ResolverSockets, at = ''): void {
    this.stop(podId, at);
    const pod: OpenPod = this.#open.get(podId) ?? {
      waiting: 0,
      abort: new AbortController(),
      ends: new Map(),
    };
    this.#open.set(podId, pod);
    const closeUdp = this.#serveUdp(podId, sockets);
    const closeTcp = this.#serveTcp(podId, sockets.tcp);
    pod.ends.set(at, () => {
      closeUdp();
      closeTcp();
    });
  }

  serves(podId: string): boolean {
    return this.#open.get(podId)?.ends.has('') ?? false;
  }

  /** @param at one place; absent: everywhere. */
  stop(podId: string, at?: string): void {
    const pod = this.#open.get(podId);
    if (pod === undefined) return;
    for (const place of at === undefined ? pod.ends.keys() : [at]) {
      pod.ends.get(place)?.();
      pod.ends.delete(place);
    }
    if (pod.ends.size > 0) return;
    pod.abort.abort();
    this.#open.delete(podId);
  }

  close(): void {
    for (const podId of this.#open.keys()) this.stop(podId);
  }

  #serveUdp(podId: string, { udp: fd, family = 'ipv4' }: ResolverSockets): () => void {
    const socket = createSocket(family === 'ipv4' ? 'udp4' : 'udp6');
    socket.on('error', (err) => this.#options.log.warn({ err, podId }, 'the resolver of a pod failed'));
    let open = true;
    const reply = async (packet: Buffer, client: RemoteInfo): Promise<void> => {
      const data = await this.#respond(podId, packet, false);
      if (data && open) socket.send(data, client.port, client.address);
    };
    socket.on('message', (packet, client) => {
      if (client.port === 0) return; // a forged packet: nobody waits for an answer there
      reply(packet, client).catch((err: unknown) =>
        this.#options.log.warn({ err, podId }, 'no answer was sent'),
      );
    });
    socket.bind({ fd });
    socket.unref();
    return () => {
      open = false;
      socket.close();
    };
  }

  #serveTcp(podId: string, fd: number): () => void {
    const clients = new Set<Socket>();
    const server = createServer((client) => {
      clients.add(client);
      client.on('close', () => clients.delete(client));
      client.on('error', () => client.destroy());
      client.setTimeout(TCP_IDLE_MS, () => client.destroy());
      this.#serveConnection(podId, client).catch(() => client.destroy());
    });
    server.maxConnections = MAX_CONNECTIONS_PER_POD;
    server.on('error', (err) => this.#options.log.warn({ err, podId }, 'the resolver of a pod failed'));
    server.listen({ fd });
    server.unref();
    return () => {
      server.close();
      for (const client of clients) client.destroy();
    };
  }

  /** One question after the other: a client that does not read its answers gets no further ones. */
  async #serveConnection(podId: string, client: Socket): Promise<void> {
    let data = Buffer.alloc(0);
    for await (const chunk of client) {
      data = Buffer.concat([data, chunk as Buffer]);
      while (data.length >= 2) {
        const length = data.readUInt16BE(0);
        if (length > 4096) throw new Error('oversized question');
        if (data.length < 2 + length) break;
        const reply = await this.#respond(podId, data.subarray(2, 2 + length), true);
        data = data.subarray(2 + length);
        if (reply === undefined) throw new Error('not a question');
        if (!client.write(withLength(reply))) await drained(client);
      }
    }
  }

  async #respond(podId: string, packet: Buffer, tcp: boolean): Promise<Buffer | undefined> {
    const query = parseQuery(packet);
    if (query === undefined || Buffer.isBuffer(query)) return query;
    const limit = tcp ? 65_535 : query.size;
    try {
      return this.#answerHere(podId, query, limit) ?? (await this.#forward(podId, query, tcp, limit));
    } catch (err) {
      this.#options.log.debug({ err, podId }, 'a question could not be answered');
      return answer(query, RCODE.serverFailure, [], limit);
    }
  }

  /** Undefined when it is an outside name. */
  #answerHere(podId: string, query: Query, limit: number): Buffer | undefined {
    const { names, inSubnet, domainOf } = this.#options;
    const address = reverseAddress(query.name);
    if (address !== undefined) {
      const name = names.reverse(podId, address, (networkId) => inSubnet(networkId, address));
      if (name === undefined) return undefined;
      if (name === '') return answer(query, RCODE.noSuchName, [], limit);
      return answer(query, RCODE.ok, query.type === TYPE.PTR ? [{ type: 'PTR', data: name }] : [], limit);
    }
    const suffix = `.${domainOf(podId).toLowerCase()}`;
    const isInDomain = suffix !== '.' && query.name.toLowerCase().endsWith(suffix);
    const found =
      names.lookup(podId, query.name) ??
      (isInDomain ? names.lookup(podId, query.name.slice(0, -suffix.length)) : undefined);
    if (found === undefined) return undefined;
    // Any other type of a name that is ours: it exists and has none.
    const records: AnswerRecord[] = [];
    if (query.type === TYPE.A) records.push(...found.ipv4.map((data) => ({ type: 'A' as const, data })));
    if (query.type === TYPE.AAAA)
      records.push(...found.ipv6.map((data) => ({ type: 'AAAA' as const, data })));
    return answer(query, RCODE.ok, records, limit);
  }

  async #forward(podId: string, query: Query, tcp: boolean, limit: number): Promise<Buffer> {
    const pod = this.#open.get(podId);
    const servers = this.#options.upstreams(podId);
    // Where there is no way out, there is no outside name (CVE-2024-29018); an error would make clients wait.
    if (servers.length === 0) return answer(query, RCODE.noSuchName, [], limit);
    if (pod === undefined || pod.waiting >= MAX_WAITING_PER_POD)
      return answer(query, RCODE.serverFailure, [], limit);
    pod.waiting++;
    try {
      const reply = await askUpstream(query, servers, { tcp, signal: pod.abort.signal });
      return reply ? fit(query, reply, limit) : answer(query, RCODE.serverFailure, [], limit);
    } finally {
      pod.waiting--;
    }
  }
}

function drained(client: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    client.once('drain', resolve);
    client.once('close', () => reject(new Error('closed')));
  });
}

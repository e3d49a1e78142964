import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { connect } from 'node:net';
import { NetworkJob } from '../../host/network-job.ts';
import { familyOf } from '../../lib/address.ts';
import { RCODE, isTruncated, questionEnd, rcodeOf, type Query } from './query.ts';

const UDP_TIMEOUT_MS = 2_500;
const TCP_TIMEOUT_MS = 4_000;
const ROUNDS = 2;

export interface Upstream {
  address: string;
  /** Asked from inside this namespace: the address means something else there. Absent: from the daemon's own. */
  netns?: string;
}

/**
 * Asks the servers in turn until one gives an answer that says something. A cut answer is asked for again by TCP.
 * Undefined when none answered.
 */
export async function askUpstream(
  query: Query,
  servers: readonly Upstream[],
  options: { tcp: boolean; port?: number; signal: AbortSignal },
): Promise<Buffer | undefined> {
  const port = options.port ?? 53;
  let last: Buffer | undefined;
  for (let round = 0; round < ROUNDS && last === undefined; round++) {
    for (const server of servers) {
      if (options.signal.aborted) return undefined;
      const reply = await askOne(query, server, port, options).catch(() => undefined);
      if (reply === undefined) continue;
      last = reply;
      if (rcodeOf(reply) !== RCODE.serverFailure && rcodeOf(reply) !== RCODE.refused) return reply;
    }
  }
  return last;
}

async function askOne(
  query: Query,
  server: Upstream,
  port: number,
  { tcp, signal }: { tcp: boolean; signal: AbortSignal },
): Promise<Buffer> {
  // A fresh id and a fresh port for each question: both have to be guessed to forge an answer.
  const packet = Buffer.from(query.raw);
  packet.writeUInt16BE(randomInt(0x10000), 0);
  // A socket made in another namespace cannot be connected by TCP from here: what came by UDP has to do.
  if (server.netns !== undefined) return askUdp(packet, server, port, signal);
  if (tcp) return askTcp(packet, server.address, port, signal);
  const reply = await askUdp(packet, server, port, signal);
  if (!isTruncated(reply)) return reply;
  return askTcp(packet, server.address, port, signal).catch(() => reply);
}

async function askUdp(packet: Buffer, server: Upstream, port: number, signal: AbortSignal): Promise<Buffer> {
  const { address, netns } = server;
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const socket = netns === undefined ? createUdp(address, signal) : await createUdpIn(netns, address, signal);
  const timer = setTimeout(() => reject(new Error(`${address} did not answer`)), UDP_TIMEOUT_MS);
  socket.on('error', reject);
  socket.on('close', () => reject(new Error('closed')));
  // Connected: the kernel lets nobody else's packets in, and tells when nothing listens there.
  socket.connect(port, address, () => socket.send(packet));
  socket.on('message', (reply) => {
    if (isReplyTo(packet, reply)) resolve(reply);
  });
  return promise.finally(() => {
    clearTimeout(timer);
    socket.removeAllListeners('close');
    if (!signal.aborted) socket.close();
  });
}

function createUdp(address: string, signal: AbortSignal): Socket {
  return createSocket({ type: familyOf(address) === 'ipv4' ? 'udp4' : 'udp6', signal });
}

async function createUdpIn(netns: string, address: string, signal: AbortSignal): Promise<Socket> {
  const family = familyOf(address);
  const any = Buffer.alloc(family === 'ipv4' ? 4 : 16);
  const job = new NetworkJob().enter(netns).socket({ family, type: 'udp', address: any, port: 0 });
  const { sockets } = await job.run();
  return createUdp(address, signal).bind({ fd: sockets[0]!.fd });
}

function askTcp(packet: Buffer, server: string, port: number, signal: AbortSignal): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const socket = connect({ host: server, port, signal });
  let received = Buffer.alloc(0);
  socket.setTimeout(TCP_TIMEOUT_MS, () => reject(new Error(`${server} did not answer`)));
  socket.on('error', reject);
  socket.on('close', () => reject(new Error(`${server} closed the connection`)));
  socket.on('connect', () => socket.write(withLength(packet)));
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    if (received.length < 2) return;
    const end = 2 + received.readUInt16BE(0);
    if (received.length < end) return;
    const reply = received.subarray(2, end);
    if (isReplyTo(packet, reply)) resolve(reply);
    else reject(new Error(`${server} answered something else`));
  });
  return promise.finally(() => socket.destroy());
}

export function withLength(packet: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(packet.length);
  return Buffer.concat([length, packet]);
}

/** Same id, an answer, and the same question (servers may change the case of its letters). */
export function isReplyTo(packet: Buffer, reply: Buffer): boolean {
  if (reply.length < 12 || reply.readUInt16BE(0) !== packet.readUInt16BE(0)) return false;
  if ((reply.readUInt16BE(2) & 0x8000) === 0) return false;
  if (reply.readUInt16BE(4) === 0) return rcodeOf(reply) !== RCODE.ok;
  const end = questionEnd(packet);
  const text = (data: Buffer): string => data.toString('latin1', 12, end).toLowerCase();
  return end > 0 && reply.length >= end && text(packet) === text(reply);
}

import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, connect, type Server, type Socket } from 'node:net';
import type { Logger } from '../lib/log.ts';

/** Carries what arrives on a host socket to a pod, where the kernel cannot redirect it: from IPv6 to IPv4, and from ::1. */
export interface Proxy {
  close(): void;
}

export interface Target {
  address: string;
  port: number;
}

/** @param fd a listening TCP socket, which the proxy owns from now on */
export function proxyTcp(fd: number, target: Target, log: Logger): Proxy {
  const MAX_CONNECTIONS = 1024;
  const open = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const upstream = connect({ host: target.address, port: target.port, allowHalfOpen: true });
    const drop = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', drop);
      socket.on('close', () => open.delete(socket));
    }
    client.on('close', () => upstream.destroySoon());
    upstream.on('close', () => client.destroySoon());
    // Each side's end is passed on by itself, so that a half-closed connection stays one.
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('error', (err) => log.warn({ err, target }, 'a port proxy failed'));
  server.listen({ fd });
  server.unref();
  return {
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

/** @param fd a bound UDP socket, which the proxy owns from now on */
export function proxyUdp(fd: number, target: Target, log: Logger): Proxy {
  const MAX_CLIENTS = 1024;
  const IDLE_MS = 90_000;
  const clients = new Map<string, { socket: UdpSocket; timer: NodeJS.Timeout }>();
  const server = createSocket('udp6');
  server.on('error', (err) => log.warn({ err, target }, 'a port proxy failed'));
  server.on('message', (data, { address, port }) => {
    // A sender may leave its port out (RFC 768): nobody can be answered there, and dgram throws for it.
    if (port === 0) return;
    const key = `${address} ${port}`;
    const known = clients.get(key);
    if (known) {
      known.timer.refresh();
      known.socket.send(data, target.port, target.address);
      return;
    }
    if (clients.size >= MAX_CLIENTS) return;
    const socket = createSocket(target.address.includes(':') ? 'udp6' : 'udp4');
    const end = (): void => {
      clearTimeout(timer);
      if (clients.delete(key)) socket.close();
    };
    const timer = setTimeout(end, IDLE_MS).unref();
    clients.set(key, { socket, timer });
    // An unreachable target is what UDP has no answer for.
    socket.on('error', end);
    socket.on('message', (answer) => {
      timer.refresh();
      server.send(answer, port, address);
    });
    socket.send(data, target.port, target.address);
    socket.unref();
  });
  server.bind({ fd });
  server.unref();
  return {
    close() {
      server.close();
      for (const { socket, timer } of clients.values()) {
        clearTimeout(timer);
        socket.close();
      }
      clients.clear();
    },
  };
}

import { once } from 'node:events';
import { unlink } from 'node:fs/promises';
import { createServer as createHttpServer, ServerResponse } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Engine } from '../../engine/engine.ts';
import type { Logger } from '../../lib/log.ts';
import type { ApiConfig } from '../docker/config.ts';
import { createApp } from './app.ts';
import type { Route } from './call.ts';
import { Connections } from './connections.ts';
import type { TcpAccess } from './host-guard.ts';
import { letGo } from './hijack.ts';
import { listenTcp, listenUnix } from './listen.ts';

export interface ApiServerOptions {
  engine: Engine;
  /** Absent: no TCP at all. */
  config: ApiConfig & { tcp?: TcpAccess };
  log: Logger;
  /** Routes beside Docker's. */
  routes?: Route[];
}

export interface ApiServer {
  /** Serves on the UNIX socket `path`, and over TCP when configured. */
  listen(path: string): Promise<void>;
  /** Stops listening, ends streams, lets answers under way be finished. */
  close(): Promise<void>;
}

export async function createServer(options: ApiServerOptions): Promise<ApiServer> {
  const connections = new Connections();
  const app = await createApp(options, connections);
  const servers: Server[] = [];
  let socketPath: string | undefined;

  const newServer = (): Server => {
    const server = createHttpServer(httpOptions, (request, response) => app.routing(request, response));
    server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
      connections.setUpgrade(request, { stream, head });
      app.routing(request, upgradeResponse(request, stream));
    });
    // Out of descriptors, for one: the next connection may work again, and unheard it would end the daemon.
    server.on('error', (error) => options.log.error({ err: error }, 'the API cannot listen or accept'));
    servers.push(server);
    return server;
  };

  return {
    async listen(path) {
      await listenUnix(newServer(), path);
      socketPath = path;
      const tcp = options.config.tcp;
      if (!tcp) return;
      const server = newServer();
      server.on('connection', (connection) => connections.setTcp(connection));
      await listenTcp(server, tcp.host, tcp.port);
    },
    async close() {
      connections.destroyStreams();
      await Promise.all(servers.map(closeServer));
      if (socketPath) await unlink(socketPath).catch(() => undefined);
      await app.close();
    },
  };
}

const httpOptions = {
  // Credentials for registries travel in headers (X-Registry-Config holds all of a client's).
  maxHeaderSize: 64 * 1024,
  // Uploads (load, cp) take as long as they take; clients keep connections for as long as they like.
  requestTimeout: 0,
  keepAliveTimeout: 0,
  headersTimeout: 60_000,
  shouldUpgradeCallback: (request: IncomingMessage): boolean =>
    request.headers.upgrade?.toLowerCase() === 'tcp' &&
    /\/(attach|start|isle\/v1\/display)(\?|$)/.test(request.url ?? ''),
};

/** The response to a request that came with `Upgrade`, while it is not yet decided that it is hijacked. */
function upgradeResponse(request: IncomingMessage, stream: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(stream as Socket);
  response.on('finish', () => {
    letGo(response, stream);
    stream.end(() => stream.destroy());
  });
  return response;
}

/** milliseconds that answers under way get to be finished */
const grace = 5000;

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  server.close();
  // A connection that is kept alive becomes idle when its answer is out, and then has to go too.
  const idle = setInterval(() => server.closeIdleConnections(), 20);
  const late = setTimeout(() => server.closeAllConnections(), grace);
  await once(server, 'close');
  clearInterval(idle);
  clearTimeout(late);
}

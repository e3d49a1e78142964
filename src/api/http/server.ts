import { once } from 'node:events';
import { unlink } from 'node:fs/promises';
import { createServer as createHttpServer, ServerResponse } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyServerOptions } from 'fastify';
import type { Engine } from '../../engine/engine.ts';
import { isleError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { ApiConfig } from '../docker/config.ts';
import { dockerRoutes } from '../docker/routes.ts';
import { currentVersion, formatVersion } from './api-version.ts';
import { Call, type Route } from './call.ts';
import { Connections } from './connections.ts';
import { guardTcp, type TcpAccess } from './host-guard.ts';
import { letGo } from './hijack.ts';
import { errorAnswer } from './http-errors.ts';
import { listenTcp, listenUnix } from './listen.ts';
import type { Answer, Reply } from './reply.ts';
import { rewriteUrl } from './rewrite-url.ts';

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
    servers.push(server);
    return server;
  };

  return {
    async listen(path) {
      await listenUnix(newServer(), path);
      socketPath = path;
      const tcp = options.config.tcp;
      if (tcp) await listenTcp(newServer(), tcp.host, tcp.port);
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
    request.headers.upgrade?.toLowerCase() === 'tcp' && /\/(attach|start)(\?|$)/.test(request.url ?? ''),
};

/** Requests are parsed by hand: without this Fastify loads ajv and a serializer (95 modules, 10 ms) for nothing. */
const noSchemas: FastifyServerOptions['schemaController'] = {
  compilersFactory: {
    buildValidator: refuseSchemas,
    buildSerializer: refuseSchemas,
  },
};

function refuseSchemas(): never {
  throw new Error('no route has a schema');
}

async function createApp(options: ApiServerOptions, connections: Connections): Promise<FastifyInstance> {
  const { engine, config, log } = options;
  const app = Fastify({
    logger: false,
    schemaController: noSchemas,
    bodyLimit: Number.MAX_SAFE_INTEGER,
    exposeHeadRoutes: false,
    // Answered below, by Docker's error JSON.
    frameworkErrors: (error, _request, reply) =>
      void send(
        reply,
        errorAnswer(error, () => undefined),
      ),
    routerOptions: { maxParamLength: 4096, querystringParser: () => ({}) },
    rewriteUrl(request) {
      const { url, version } = rewriteUrl(request.url ?? '/');
      if (version !== undefined) connections.setVersion(request as IncomingMessage, version);
      return url;
    },
  });
  app.removeAllContentTypeParsers();
  // Bodies are read by the handlers: JSON with a limit, archives as streams.
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));

  const unexpected = (error: unknown): void => log.error({ err: error }, 'request failed');
  const fixed = {
    'api-version': formatVersion(currentVersion),
    'docker-experimental': 'false',
    ostype: 'linux',
    server: `Isle/${config.version} (linux)`,
  };
  app.addHook('onRequest', (request, reply, done) => {
    void reply.headers(fixed);
    guardTcp(request.raw, config.tcp);
    done();
  });
  app.setErrorHandler((error, _request, reply) => void send(reply, errorAnswer(error, unexpected)));
  app.setNotFoundHandler((_request, reply) => {
    void send(reply, errorAnswer(isleError('pageNotFound', {}), unexpected));
  });
  for (const route of [...dockerRoutes(engine, config), ...(options.routes ?? [])]) {
    addRoute(app, route, connections, unexpected);
  }
  await app.ready();
  return app;
}

function addRoute(
  app: FastifyInstance,
  route: Route,
  connections: Connections,
  unexpected: (error: unknown) => void,
): void {
  app.route({
    method: route.method,
    url: route.path,
    handler: async (request, reply) => {
      let answer: Reply;
      try {
        const params = request.params as Record<string, string>;
        answer = await route.handle(new Call(request.raw, params, reply, connections));
      } catch (error) {
        if (reply.sent) return abandon(reply, error, unexpected);
        answer = errorAnswer(error, unexpected);
      }
      if (answer === 'taken') return;
      await send(reply, answer);
    },
  });
}

/** After the first byte nothing can be told by a status: the connection breaks, so that the client notices. */
function abandon(reply: FastifyReply, error: unknown, unexpected: (error: unknown) => void): void {
  if (!(error instanceof Error && error.name === 'AbortError')) unexpected(error);
  reply.raw.destroy();
}

function send(reply: FastifyReply, answer: Answer): FastifyReply {
  return reply
    .code(answer.status)
    .headers(answer.headers ?? {})
    .send(answer.body);
}

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

import type { IncomingMessage } from 'node:http';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyServerOptions } from 'fastify';
import { isleError } from '../../lib/errors.ts';
import { dockerRoutes } from '../docker/routes.ts';
import { isleRoutes } from '../isle/routes.ts';
import { currentVersion, formatVersion } from './api-version.ts';
import { Call, type Route } from './call.ts';
import type { Connections } from './connections.ts';
import { guardTcp } from './host-guard.ts';
import { errorAnswer } from './http-errors.ts';
import type { Answer, Reply } from './reply.ts';
import { rewriteUrl } from './rewrite-url.ts';
import type { ApiServerOptions } from './server.ts';

/** The routes, behind Docker's ways with URLs, headers and errors. Connections are the server's. */
export async function createApp(
  options: ApiServerOptions,
  connections: Connections,
): Promise<FastifyInstance> {
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

  const unexpected = (error: unknown): void => {
    if (!isAbort(error)) log.error({ err: error }, 'request failed');
  };
  const fixed = {
    'api-version': formatVersion(currentVersion),
    'docker-experimental': 'false',
    ostype: 'linux',
    server: `Isle/${config.version} (linux)`,
  };
  app.addHook('onRequest', (request, reply, done) => {
    void reply.headers(fixed);
    if (connections.isTcp(request.raw.socket)) guardTcp(request.raw, config.tcp);
    done();
  });
  app.setErrorHandler((error, _request, reply) => void send(reply, errorAnswer(error, unexpected)));
  app.setNotFoundHandler((_request, reply) => {
    void send(reply, errorAnswer(isleError('pageNotFound', {}), unexpected));
  });
  for (const route of [...dockerRoutes(engine, config), ...isleRoutes(engine), ...(options.routes ?? [])]) {
    addRoute(app, route, connections, unexpected);
  }
  await app.ready();
  return app;
}

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
  unexpected(error);
  reply.raw.destroy();
}

function send(reply: FastifyReply, answer: Answer): FastifyReply {
  return reply
    .code(answer.status)
    .headers(answer.headers ?? {})
    .send(answer.body);
}

/** The client went away: nobody is left to tell. */
function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

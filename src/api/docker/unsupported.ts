import { isleError } from '../../lib/errors.ts';
import type { Route } from '../http/call.ts';

/** Routes of the specification that Isle does not serve (yet). A test compares this with the specification. */
export const unsupported: readonly `${Route['method']} /${string}`[] = [
  'GET /containers/:id/attach/ws',
  'POST /build',
  'GET /images/search',
  'PUT /volumes/:name',
  'GET /plugins',
  'GET /plugins/privileges',
  'POST /plugins/pull',
  'GET /plugins/:name/json',
  'DELETE /plugins/:name',
  'POST /plugins/:name/enable',
  'POST /plugins/:name/disable',
  'POST /plugins/:name/upgrade',
  'POST /plugins/create',
  'POST /plugins/:name/push',
  'POST /plugins/:name/set',
  'GET /nodes',
  'GET /nodes/:id',
  'DELETE /nodes/:id',
  'POST /nodes/:id/update',
  'GET /swarm',
  'POST /swarm/init',
  'POST /swarm/join',
  'POST /swarm/leave',
  'POST /swarm/update',
  'GET /swarm/unlockkey',
  'POST /swarm/unlock',
  'GET /services',
  'POST /services/create',
  'GET /services/:id',
  'DELETE /services/:id',
  'POST /services/:id/update',
  'GET /services/:id/logs',
  'GET /tasks',
  'GET /tasks/:id',
  'GET /tasks/:id/logs',
  'GET /secrets',
  'POST /secrets/create',
  'GET /secrets/:id',
  'DELETE /secrets/:id',
  'POST /secrets/:id/update',
  'GET /configs',
  'POST /configs/create',
  'GET /configs/:id',
  'DELETE /configs/:id',
  'POST /configs/:id/update',
  'GET /distribution/:name/json',
  'POST /session',
];

/** Each of them answers 501 with its name. */
export function unsupportedRoutes(): Route[] {
  return unsupported.map((route) => {
    const [method, path] = route.split(' ') as [Route['method'], string];
    return {
      method,
      path,
      handle() {
        throw isleError('notImplemented', { what: `${method} ${path.replace(/:(\w+)/g, '{$1}')}` });
      },
    };
  });
}

import type { Engine } from '../../engine/engine.ts';
import type { Route } from '../http/call.ts';
import { json } from '../http/reply.ts';

/** What `isle compare` needs from outside of containers. */
export function compareRoutes(engine: Engine): Route[] {
  return [
    {
      method: 'GET',
      path: '/isle/v1/host',
      async handle() {
        return json(await engine.system.host());
      },
    },
    {
      method: 'GET',
      path: '/isle/v1/probe',
      async handle() {
        return {
          status: 200,
          headers: { 'content-type': 'application/octet-stream' },
          body: await engine.system.probe(),
        };
      },
    },
    {
      method: 'GET',
      path: '/isle/v1/containers/:id/footprint',
      async handle(call) {
        return json(await engine.containers.footprint(call.param('id')));
      },
    },
  ];
}

import type { Engine } from '../../engine/engine.ts';
import type { Route } from '../http/call.ts';
import { noContent } from '../http/reply.ts';

/** What starts with the engine, and the end of all in the opposite order. */
export function autostartRoutes({ containers }: Engine): Route[] {
  const path = '/isle/v1/containers/:id/autostart';
  return [
    {
      method: 'PUT',
      path,
      async handle(call) {
        const body = await call.json();
        await containers.setAutostart(call.param('id'), {
          order: body.optionalInteger('Order'),
          delay: body.optionalInteger('Delay'),
        });
        return noContent();
      },
    },
    {
      method: 'DELETE',
      path,
      async handle(call) {
        await containers.setAutostart(call.param('id'), undefined);
        return noContent();
      },
    },
    {
      method: 'POST',
      path: '/isle/v1/stop-workloads',
      async handle() {
        await containers.stopAll();
        return noContent();
      },
    },
  ];
}

import { pipeline } from 'node:stream/promises';
import type { Engine } from '../../../engine/engine.ts';
import type { Call, Route } from '../../http/call.ts';
import { json, type Reply } from '../../http/reply.ts';
import { requiredText } from './parse-hardware.ts';

/** Pictures of screens, tickets to them, and the connection that a ticket opens. */
export function machineScreenRoutes({ machines }: Engine): Route[] {
  const one = '/isle/v1/machines/:id';
  return [
    {
      method: 'GET',
      path: `${one}/screenshot`,
      async handle(call) {
        const body = await machines.screenshot(call.param('id'));
        return { status: 200, headers: { 'content-type': 'image/png', 'cache-control': 'no-store' }, body };
      },
    },
    {
      method: 'POST',
      path: `${one}/display`,
      handle(call) {
        const { ticket, expiresAt } = machines.displayTicket(call.param('id'));
        return json({ Ticket: ticket, ExpiresAt: expiresAt }, 201, { 'cache-control': 'no-store' });
      },
    },
    { method: 'POST', path: '/isle/v1/display', handle: (call) => connect(machines, call) },
  ];
}

/** Becomes a connection to the VNC server (RFB), both ways. The ticket is in the body: paths are logged. */
async function connect(machines: Engine['machines'], call: Call): Promise<Reply> {
  const screen = await machines.display(requiredText(await call.json(), 'Ticket'));
  const socket = call.hijack('application/vnd.isle.rfb');
  const both = [pipeline(screen, socket), pipeline(socket, screen)];
  // Either end's going is the other's.
  await Promise.race(both.map((one) => one.catch(() => {})));
  screen.destroy();
  socket.destroy();
  await Promise.allSettled(both);
  return 'taken';
}

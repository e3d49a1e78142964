import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../../lib/errors.ts';
import type { Client } from '../client/client.ts';
import { Failure } from '../failure.ts';
import { machinePath } from './machine.ts';

export interface ScreenSocket extends AsyncDisposable {
  path: string;
}

/**
 * A socket of this user's on which a VNC viewer finds a machine's screen: each connection gets a ticket of its own.
 * `given`: where; else in a fresh directory. `onProblem`: what kept a viewer out.
 */
export async function listenForViewers(
  client: Client,
  id: string,
  given: string | undefined,
  onProblem: (message: string) => void,
): Promise<ScreenSocket> {
  const own = given === undefined ? mkdtempSync(join(tmpdir(), 'isle-display-')) : undefined;
  const path = given === undefined ? join(own!, 'vnc.sock') : resolve(given);
  const viewers = new Set<Socket>();
  const server = createServer((viewer) => {
    viewers.add(viewer);
    viewer.on('error', () => viewer.destroy());
    viewer.once('close', () => viewers.delete(viewer));
    connectViewer(client, id, viewer).catch((error: unknown) => {
      viewer.destroy();
      onProblem(messageOf(error));
    });
  });
  const close = async () => {
    for (const viewer of viewers) viewer.destroy();
    await new Promise((done) => server.close(done));
    if (own !== undefined) rmSync(own, { recursive: true, force: true });
  };
  // Of a socket that anyone could connect to between its making and its closing to others there must be nothing to see.
  const mask = process.umask(0o177);
  try {
    server.listen(path);
    await once(server, 'listening');
  } catch (cause) {
    if (own !== undefined) rmSync(own, { recursive: true, force: true });
    throw new Failure(`cannot listen at ${path}: ${messageOf(cause)}`, {
      hint: `is there a file already, and may you write to ${dirname(path)}?`,
      cause,
    });
  } finally {
    process.umask(mask);
  }
  chmodSync(path, 0o600);
  return { path, [Symbol.asyncDispose]: close };
}

async function connectViewer(client: Client, id: string, viewer: Socket): Promise<void> {
  const { Ticket } = await client.post<{ Ticket: string }>(`${machinePath(id)}/display`);
  const { socket: screen } = await client.hijack('/isle/v1/display', { body: { Ticket } });
  const both = [pipeline(viewer, screen), pipeline(screen, viewer)];
  await Promise.race(both.map((one) => one.catch(() => {})));
  viewer.destroy();
  screen.destroy();
  await Promise.allSettled(both);
}

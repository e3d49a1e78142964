import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { thawForgotten } from '../../src/runtimes/machine/agent/freeze.ts';
import type { LiveMachine } from '../../src/runtimes/machine/live-machine.ts';

/** A daemon that dies while a guest's file systems are frozen must not leave them so. */
const source = join(import.meta.dirname, '../../src/runtimes/machine/agent/freeze.ts');
const points = [...readFileSync(source, 'utf8').matchAll(/failpoint\('([^']+)'\)/g)].map(([, name]) => name!);

let directory: string;
let server: Server;
let isFrozen = false;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'isle-freeze-'));
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      for (const line of chunk
        .toString('latin1')
        .split(/[\xff\n]/)
        .filter(Boolean)) {
        const { execute, arguments: args } = JSON.parse(line) as {
          execute: string;
          arguments?: { id: number };
        };
        if (execute === 'guest-fsfreeze-freeze') isFrozen = true;
        if (execute === 'guest-fsfreeze-thaw') isFrozen = false;
        if (execute === 'guest-sync-delimited') socket.write(Buffer.from([0xff]));
        socket.write(`${JSON.stringify({ return: args?.id ?? 1 })}\n`);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(join(directory, 'socket'), resolve));
});
after(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true });
});

async function life(point: string): Promise<NodeJS.Signals | null> {
  const victim = join(import.meta.dirname, '../fixtures/freeze-victim.ts');
  const child = spawn(process.execPath, [victim, directory], {
    env: { ...process.env, ISLE_FAILPOINT: point && `${point}=kill` },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return signal;
}

for (const point of points)
  test(`killed at ${point}, the next daemon thaws`, async () => {
    assert.equal(await life(point), 'SIGKILL');
    assert.equal(isFrozen, point.endsWith('.after'));
    const hardware = { directory } as LiveMachine['hardware'];
    const machine = { id: 'vm', agentSocket: async () => join(directory, 'socket'), hardware };
    await thawForgotten(machine);
    assert.equal(isFrozen, false);
  });

test('the failpoints were found, and without one nothing stays frozen', async () => {
  assert.ok(points.length >= 2);
  assert.equal(await life(''), null);
  assert.equal(isFrozen, false);
});

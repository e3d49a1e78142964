import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { withQmp } from './qmp.ts';

/** A socket on which each command is answered by `answer`. */
async function monitor(t: TestContext, answer: string): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'isle-qmp-'));
  mkdirSync(join(directory, 'sockets'));
  const path = join(directory, 'sockets/qmp');
  const server = createServer((socket) => {
    socket.on('error', () => {}).write('{"QMP": {}}\n');
    socket.on('data', () => socket.write(answer));
  }).listen(path);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  return path;
}

const event = '{"event": "RESET"}\n';

test('events before an answer are passed over', async (t) => {
  const path = await monitor(t, `${event.repeat(20)}{"return": 7}\n`);
  assert.equal(await withQmp(path, (ask) => ask('query')), 7);
});

test('a QEMU that sends nothing but events is given up', async (t) => {
  const path = await monitor(t, event.repeat(3000));
  await assert.rejects(
    withQmp(path, (ask) => ask('query')),
    /events instead of an answer/,
  );
});

test('a QEMU that talks nonsense is given up', async (t) => {
  const path = await monitor(t, 'nonsense\n');
  await assert.rejects(
    withQmp(path, (ask) => ask('query')),
    /closed its monitor/,
  );
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { silentLog } from '../../lib/log.ts';
import { watchBoot } from './boot-watch.ts';

test('a guest whose processor stands still is reset, one at work or paused is not, and QEMU ends at the next reboot', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-qmp-'));
  const heard: string[] = [];
  const up = new AbortController();
  const server = createServer((socket) => {
    socket.write('{"QMP":{}}\n');
    createInterface({ input: socket }).on('line', (line) => {
      const command = JSON.parse(line) as { execute: string; arguments?: object; id: number };
      heard.push(`${command.execute} ${Object.values(command.arguments ?? {}).join()}`.trim());
      socket.write(`{"return":{},"id":${command.id}}\n`);
      if (heard.length === 4) up.abort();
    });
    socket.on('error', () => {});
  });
  const qmp = join(directory, 'qmp');
  await new Promise<void>((resolve) => server.listen(qmp, resolve));
  // Busy, busy, paused, busy again, and then nothing any more.
  const times = [0, 1e9, 1e9, 2e9, undefined, 2e9, 2e9, 3e9];
  const options = { id: 'x', qmp, log: silentLog(), every: 5, signal: up.signal };
  await watchBoot({ ...options, cpuTime: () => Promise.resolve(times.length > 0 ? times.shift() : 3e9) });
  assert.deepEqual(heard, ['qmp_capabilities', 'set-action reset', 'system_reset', 'set-action shutdown']);
  assert.deepEqual(times, []);
  server.close();
  rmSync(directory, { recursive: true });
});

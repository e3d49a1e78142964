import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { callApi } from '../fixtures/docker-api.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { RawConnection } from '../fixtures/raw-http.ts';

/** More of them for a long look: `ISLE_TEST_CYCLES=10000`. */
const cycles = Number(process.env.ISLE_TEST_CYCLES ?? 120);
const upgrade = ['Host: d', 'Connection: Upgrade', 'Upgrade: tcp'];

test('attach, exec and resize again and again leave descriptors and memory flat', async () => {
  await using daemon = await startDaemon();
  const made = await daemon.ok('POST', '/containers/create', {
    Image: 'busybox',
    Cmd: ['cat'],
    Tty: true,
    OpenStdin: true,
  });
  const { Id } = made.json<{ Id: string }>();
  await daemon.ok('POST', `/containers/${Id}/start`);
  await rounds(daemon, Id, Math.ceil(cycles / 4));
  await sleep(1500);
  const before = usage(daemon.pid);
  await rounds(daemon, Id, cycles);
  // A client that only half-closed is looked for once a second.
  await sleep(1500);
  const after = usage(daemon.pid);
  assert.ok(
    after.descriptors <= before.descriptors + 3,
    `descriptors: ${before.descriptors} → ${after.descriptors}`,
  );
  const grown = after.memory - before.memory;
  // What the collector has not come to yet is no leak: it stays the same for any number of cycles.
  assert.ok(grown < 40 * 1024, `memory grew by ${grown} kB in ${cycles} cycles`);
});

async function rounds(daemon: TestDaemon, id: string, count: number): Promise<void> {
  const next = { left: count };
  const worker = async (): Promise<void> => {
    while (next.left-- > 0) await cycle(daemon, id);
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

async function cycle(daemon: TestDaemon, id: string): Promise<void> {
  const attach = new RawConnection(daemon.socket);
  attach.send(`POST /containers/${id}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1`, ...upgrade, '', '');
  await attach.see('\r\n\r\n');
  await callApi(daemon.socket, { method: 'POST', path: `/containers/${id}/resize?h=20&w=80` });
  const made = await callApi(daemon.socket, {
    method: 'POST',
    path: `/containers/${id}/exec`,
    body: { Cmd: ['true'], AttachStdout: true, Tty: true },
  });
  const exec = made.json<{ Id: string }>().Id;
  const start = new RawConnection(daemon.socket);
  start.send(`POST /exec/${exec}/start HTTP/1.1`, ...upgrade, 'Content-Length: 12', '', '{"Tty":true}');
  await start.end();
  attach.socket.destroy();
}

/** `memory` in kB */
function usage(pid: number): { descriptors: number; memory: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    memory: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]),
  };
}

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { pidfdSignal, watchPid } from '../../src/host/pidfd.ts';
import { bootId, isAlive, startTimeOf } from '../../src/host/process.ts';

function sleeper() {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  return { child, pid: child.pid!, startTime: startTimeOf(child.pid!)! };
}

test('a watch ends when the process does', async () => {
  const { pid, startTime } = sleeper();
  let ended = false;
  const watch = watchPid(pid, startTime, { bootId: bootId() }).then(() => (ended = true));
  await delay(30);
  assert.equal(ended, false);
  assert.ok(pidfdSignal(pid, startTime, 9));
  await watch;
  assert.equal(isAlive(pid, startTime), false);
});

test('a pid with another start time, or from another boot, is gone: never signalled, never waited for', async () => {
  const { child, pid, startTime } = sleeper();
  await watchPid(pid, startTime + 1);
  await watchPid(pid, startTime, { bootId: 'another' });
  assert.equal(pidfdSignal(pid, startTime + 1, 9), false);
  assert.ok(isAlive(pid, startTime));
  child.kill('SIGKILL');
  await once(child, 'exit');
  await watchPid(pid, startTime);
  assert.equal(startTimeOf(pid), undefined);
});

test('a watch can be aborted, and descriptors stay flat', async () => {
  const { child, pid, startTime } = sleeper();
  await delay(10);
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 200; i++) {
    const abort = new AbortController();
    const watch = watchPid(pid, startTime, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await assert.rejects(watch, /enough/);
  }
  assert.equal(readdirSync('/proc/self/fd').length, before);
  child.kill('SIGKILL');
  await once(child, 'exit');
});

test('a worker thread may end with its watches open', async () => {
  const { child, pid, startTime } = sleeper();
  const face = new URL('../../src/host/pidfd.ts', import.meta.url).href;
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(${JSON.stringify(face)}).then(({ watchPid }) => {
      void watchPid(workerData.pid, workerData.startTime);
      parentPort.postMessage('watching');
    });`;
  for (let i = 0; i < 5; i++) {
    const worker = new Worker(code, { eval: true, workerData: { pid, startTime } });
    await once(worker, 'message');
    await worker.terminate();
  }
  child.kill('SIGKILL');
  await once(child, 'exit');
});

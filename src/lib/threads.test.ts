import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { ThreadPool } from './threads.ts';

/** A worker that does what it is told. */
const source = `
import { parentPort, threadId } from 'node:worker_threads';
import { serveThread } from ${JSON.stringify(new URL('./threads.ts', import.meta.url).href)};
serveThread(parentPort, async (job, onProgress, signal) => {
  if (job === 'fail') throw Object.assign(new Error('no'), { code: 'ENOSPC' });
  if (job === 'die') process.exit(3);
  if (job === 'fill') { const all = []; for (;;) all.push(new Array(1000).fill(Math.random())); }
  if (job === 'wait') await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  if (job === 'tell') for (let i = 0; i < 3; i++) onProgress(i);
  if (typeof job === 'number') await new Promise((resolve) => setTimeout(resolve, job));
  return threadId;
});`;

function pool(t: TestContext, threads: number, idle?: number): ThreadPool {
  const file = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const made = new ThreadPool({ file, threads, idle, limits: { maxOldGenerationSizeMb: 32 } });
  t.after(() => made.close());
  return made;
}

test('jobs share threads, wait for a free one, and report on their way', async (t) => {
  const threads = pool(t, 2);
  const ids = await Promise.all([50, 50, 50, 50].map((time) => threads.run(time)));
  assert.equal(new Set(ids).size, 2);
  const told: unknown[] = [];
  await threads.run('tell', { onProgress: (value) => told.push(value) });
  assert.deepEqual(told, [0, 1, 2]);
});

test('a failure comes back with its code, and the thread goes on', async (t) => {
  const threads = pool(t, 1);
  const before = await threads.run(0);
  await assert.rejects(threads.run('fail'), { message: 'no', code: 'ENOSPC' });
  assert.equal(await threads.run(0), before);
});

test('a thread that dies or fills its memory fails its job only', async (t) => {
  const threads = pool(t, 1);
  await assert.rejects(threads.run('die'), /ended in the middle/);
  await assert.rejects(threads.run('fill'), { code: 'ERR_WORKER_OUT_OF_MEMORY' });
  assert.equal(typeof (await threads.run(0)), 'number');
});

test('an aborted job stops by itself and keeps its thread; one aborted before it began never begins', async (t) => {
  const threads = pool(t, 1);
  const before = await threads.run(0);
  const controller = new AbortController();
  const waiting = threads.run('wait', { signal: controller.signal });
  const queued = threads.run(0, { signal: controller.signal });
  setTimeout(() => controller.abort(), 20);
  await Promise.all([waiting, queued].map((job) => assert.rejects(job, { name: 'AbortError' })));
  assert.equal(await threads.run(0), before);
});

test('an aborted job that waits for a thread waits no longer', async (t) => {
  const threads = pool(t, 1);
  const busy = threads.run(300);
  const controller = new AbortController();
  const started = performance.now();
  const queued = threads.run(0, { signal: controller.signal });
  controller.abort();
  await assert.rejects(queued, { name: 'AbortError' });
  assert.ok(performance.now() - started < 250);
  await busy;
  await threads.run(0);
});

test('an idle thread ends', async (t) => {
  const threads = pool(t, 1, 20);
  const before = await threads.run(0);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.notEqual(await threads.run(0), before);
});

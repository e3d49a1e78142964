import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { Pins } from './pins.ts';
import { Semaphore } from '../lib/semaphore.ts';
import { SharedWork } from './shared-work.ts';

test('work that two want is done once, and both hear of it', async () => {
  const shared = new SharedWork<number>();
  let runs = 0;
  const heard: number[] = [];
  const work = async (_signal: AbortSignal, emit: (event: number) => void) => {
    runs++;
    emit(1);
    await sleep(5);
    emit(2);
  };
  const first = shared.join('a', { work, onEvent: (event) => heard.push(event) });
  await sleep(1);
  const second = shared.join('a', { work, onEvent: (event) => heard.push(event * 10) });
  await Promise.all([first, second, shared.join('b', { work })]);
  assert.equal(runs, 2);
  assert.deepEqual(heard, [1, 10, 2, 20]);
  await shared.join('a', { work });
  assert.equal(runs, 3);
});

test('it is aborted when the last one leaves, not before', async () => {
  const shared = new SharedWork<never>();
  let aborted = false;
  const work = (signal: AbortSignal) =>
    new Promise<void>((_, reject) => {
      signal.addEventListener('abort', () => {
        aborted = true;
        reject(signal.reason as Error);
      });
    });
  const [one, two] = [new AbortController(), new AbortController()];
  const joined = [one, two].map(({ signal }) => shared.join('a', { work, signal }));
  const outcome = Promise.allSettled(joined);
  one.abort(new Error('one left'));
  await sleep(2);
  assert.equal(aborted, false);
  two.abort(new Error('two left'));
  assert.deepEqual(
    (await outcome).map((one) => one.status === 'rejected' && String(one.reason)),
    ['Error: one left', 'Error: two left'],
  );
  assert.equal(aborted, true);
});

test('a failure of the one who started it is not the failure of who joined', async () => {
  const shared = new SharedWork<never>();
  const first = shared.join('a', { work: () => sleep(2).then(() => Promise.reject(new Error('mine'))) });
  const second = shared.join('a', { work: async () => undefined });
  await assert.rejects(first, /mine/);
  await second;
});

test('what is pinned is not removed, and a pin waits for a removal under way', async () => {
  const pins = new Pins();
  const pin = await pins.pin(['a', 'a', 'b']);
  assert.equal(await pins.unlessPinned('a', async () => undefined), false);
  pin[Symbol.dispose]();
  pin[Symbol.dispose]();
  let removed = false;
  const removal = pins.unlessPinned('a', async () => {
    await sleep(5);
    removed = true;
  });
  const later = await pins.pin(['a']);
  assert.equal(removed, true);
  assert.equal(await removal, true);
  later[Symbol.dispose]();
  const all = await pins.pinAll();
  assert.equal(await pins.unlessPinned('anything', async () => undefined), false);
  all[Symbol.dispose]();
  assert.equal(await pins.unlessPinned('anything', async () => undefined), true);
});

test('a semaphore lets so many in, in order, and forgets who gave up waiting', async () => {
  const semaphore = new Semaphore(1);
  const first = await semaphore.acquire();
  assert.equal(semaphore.isFull, true);
  const leaving = new AbortController();
  const gone = semaphore.acquire(leaving.signal);
  const second = semaphore.acquire();
  leaving.abort(new Error('gave up'));
  await assert.rejects(gone, /gave up/);
  first[Symbol.dispose]();
  (await second)[Symbol.dispose]();
  (await semaphore.acquire())[Symbol.dispose]();
  assert.equal(semaphore.isFull, false);
});

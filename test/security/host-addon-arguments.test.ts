import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import '../../src/host/native.ts';

type Call = (...args: unknown[]) => unknown;

const module = { exports: {} as Record<string, unknown> };
process.dlopen(module, join(import.meta.dirname, '../../build/isle.node'));

/** Calls of the common frame: each has a promise and a sync form, and reads its arguments before it does anything. */
const names = Object.keys(module.exports).filter((name) => `${name}Sync` in module.exports);

test('arguments of a wrong kind are refused by every call, and never reach the kernel', async () => {
  assert.ok(names.length > 15, `${names.length} calls`);
  // Calls without arguments ignore them all.
  const bare = new Set(['eventfd', 'pipe', 'trimMemory']);
  for (const name of names.filter((each) => !bare.has(each))) {
    const [call, sync] = [module.exports[name] as Call, module.exports[`${name}Sync`] as Call];
    for (const junk of [
      Symbol('x'),
      {},
      () => 1,
      Number.NaN,
      new Date(),
      new Float64Array(2),
      1.5,
      undefined,
    ]) {
      const args = Array.from({ length: 12 }, () => junk);
      assert.throws(() => sync(...args), { code: 'ERR_INVALID_ARG_VALUE' }, `${name} ${typeof junk}`);
      await assert.rejects(call(...args) as Promise<unknown>, { code: 'ERR_INVALID_ARG_VALUE' });
    }
    assert.throws(() => sync(), { code: 'ERR_INVALID_ARG_VALUE' }, name);
  }
});

test('a NUL in a name is refused: it would cut the name short unseen', () => {
  const openat2 = module.exports['openat2Sync'] as Call;
  for (const path of ['etc\0', '\0', Buffer.from('a\0b')])
    assert.throws(() => openat2(-100, path, 0, 0, 0), { code: 'ERR_INVALID_ARG_VALUE' });
});

test('very long names and numbers are errors, not overruns', () => {
  const openat2 = module.exports['openat2Sync'] as Call;
  assert.throws(() => openat2(-100, '/tmp/'.padEnd(100_000, 'x'), 0, 0, 0), { code: 'ENAMETOOLONG' });
  for (const number of [2 ** 60, -(2 ** 60), Number.POSITIVE_INFINITY])
    assert.throws(() => openat2(number, 'x', 0, 0, 0), /ERR_INVALID_ARG_VALUE|argument 1|EBADF/);
  const connect = module.exports['connectUnixSync'] as Call;
  assert.throws(() => connect('x'.repeat(5000), 5, 0), { code: 'ENAMETOOLONG' });
  assert.throws(() => connect(`/tmp/${'x'.repeat(200)}`, 5, 0), { code: 'ENAMETOOLONG' });
});

test('packet calls refuse descriptors, buffers and ranges that are none', () => {
  const receive = module.exports['receive'] as Call;
  const send = module.exports['send'] as Call;
  const [badFd, invalid] = [-9, -22];
  assert.equal(receive('x'), badFd);
  assert.equal(receive(99_999), badFd);
  assert.equal(send(1, 'text', 0, 4), invalid);
  for (const [offset, length] of [
    [0, 5],
    [-1, 2],
    [4, 1],
    [2 ** 52, 1],
    [1, -1],
  ])
    assert.equal(send(1, Buffer.alloc(4), offset, length), invalid);
});

test('a poll of nothing, or with nobody to call, is refused', () => {
  const Poll = module.exports['Poll'] as new (...args: unknown[]) => { start(events: number): void };
  assert.throws(() => new Poll(), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => new Poll(0, 'x'), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => new Poll(99_999, () => {}), { code: 'EBADF' });
  assert.throws(() => (Poll as unknown as Call)(0, () => {}), { code: 'ERR_INVALID_ARG_TYPE' });
  const start = Poll.prototype.start;
  assert.throws(() => start.call({} as never, 1), /Illegal invocation/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run, runOk } from './run.ts';

test('a tool gets its input and gives output and code', async () => {
  const result = await run('sh', ['-c', 'cat; echo oops >&2; exit 3'], { input: 'hello' });
  assert.deepEqual(result, { stdout: 'hello', stderr: 'oops\n', code: 3 });
});

test('a tool killed by a signal gives 128 + its number', async () => {
  assert.equal((await run('sh', ['-c', 'kill -9 $$'])).code, 137);
});

test('a missing tool, a failing one, a slow one and a talkative one are told apart', async () => {
  await assert.rejects(run('isle-no-such-tool', []), /isle-no-such-tool failed: spawn .* ENOENT/);
  await assert.rejects(runOk('sh', ['-c', 'echo why >&2; exit 2']), /sh failed: why \(exit code 2\)/);
  await assert.rejects(run('sleep', ['10'], { timeout: 50 }), /no end after 50 ms/);
  await assert.rejects(run('cat', ['/dev/zero'], { maxOutput: 100_000 }), /more than 100000 bytes/);
});

test('an aborted run ends with the reason, and input nobody reads is no error', async () => {
  const abort = new AbortController();
  const running = run('sleep', ['10'], { signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(running, /enough/);
  await assert.rejects(run('true', [], { signal: abort.signal }), /enough/);
  assert.equal((await run('true', [], { input: Buffer.alloc(1_000_000) })).code, 0);
});

test('a tool that leaves a process behind with its pipes is not waited for', async () => {
  const { stdout } = await run('sh', ['-c', 'sleep 5 & echo done'], { timeout: 4000 });
  assert.equal(stdout, 'done\n');
});

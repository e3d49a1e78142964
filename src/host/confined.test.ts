import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runConfined } from './confined.ts';

test('a tool that is not wanted any more before it has started ends at once', async () => {
  const reason = new Error('nobody waits');
  const controller = new AbortController();
  const running = runConfined('sleep', ['600'], { files: [], signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(running, reason);
});

test('a tool that says nothing, or too much, is ended', async () => {
  await assert.rejects(runConfined('sleep', ['600'], { files: [], patience: 100 }), /said nothing for 0.1 s/);
  await assert.rejects(runConfined('yes', [], { files: [], maxOutput: 65_536 }), /more than 65536 bytes/);
});

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { detectCgroups } from './detect.ts';
import { MoveAhead } from './move-ahead.ts';

test('preparing a move leaves this process in its groups', async () => {
  const cgroups = await detectCgroups();
  const before = await readFile('/proc/self/cgroup', 'utf8');
  await Promise.all([cgroups.prepareMove(), cgroups.prepareMove()]);
  await cgroups.prepareMove();
  assert.equal(await readFile('/proc/self/cgroup', 'utf8'), before);
});

test('where nothing can be prepared, nothing happens', async () => {
  await new MoveAhead('/no/such/hierarchy', 'pids').prepare();
  await new MoveAhead('/no/such/hierarchy', 'no-such-controller').prepare();
});

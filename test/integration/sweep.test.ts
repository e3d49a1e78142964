/** That what a failed test leaves is taken away, and nothing else. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { look } from '../fixtures/leftovers.ts';
import { newInstance, sweep } from '../fixtures/sweep.ts';

test('what a test left goes, frozen processes too; what somebody else has stays', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'isle-sweep-'));
  const [instance, other] = [newInstance(), newInstance()];
  t.after(async () => {
    await sweep(root, [instance, other]);
    rmSync(root, { recursive: true });
  });
  const home = (name: string) => ({ root, runRoot: root, instance: name });
  for (const name of [instance, other]) {
    execFileSync('nft', ['add', 'table', 'inet', name]);
    execFileSync('ip', ['link', 'add', `${name}0`, 'type', 'bridge']);
  }
  mkdirSync(join(root, 'point/inner'), { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', 'none', join(root, 'point')]);
  const frozen = spawn('sleep', ['1000'], { stdio: 'ignore' });
  const ended = once(frozen, 'exit');
  const hybrid = existsSync('/sys/fs/cgroup/freezer');
  for (const hierarchy of hybrid ? ['freezer', 'blkio'] : ['']) {
    const group = join('/sys/fs/cgroup', hierarchy, `${instance}.vm`, 'one');
    mkdirSync(group, { recursive: true });
    writeFileSync(join(group, 'cgroup.procs'), String(frozen.pid));
    if (hierarchy === 'freezer') writeFileSync(join(group, '../freezer.state'), 'FROZEN');
    if (hierarchy === '') writeFileSync(join(group, '../cgroup.freeze'), '1');
  }
  assert.ok(look(home(instance)).length >= 4, look(home(instance)).join('\n'));
  await sweep(root, [instance]);
  await ended;
  assert.deepEqual(look(home(instance)), []);
  assert.deepEqual(look(home(other)), [`link ${other}0`, `table table inet ${other}`]);
});

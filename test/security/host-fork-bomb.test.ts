import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { detectCgroups, openCgroups } from '../../src/host/cgroup/detect.ts';
import { mountTable } from '../../src/host/mount.ts';

const host = await detectCgroups();
const trees = [host];
if (host.mode === 'hybrid')
  trees.push(await openCgroups((await mountTable()).filter((entry) => entry.type !== 'cgroup2')));

for (const tree of trees) {
  test(`${tree.mode}: a group that forks as fast as it can is killed whole and removed`, async () => {
    const name = `bomb${randomBytes(4).toString('hex')}`;
    const cgroup = tree.cgroup(`/${name}`);
    await cgroup.create();
    const max = [`/sys/fs/cgroup/${name}/pids.max`, `/sys/fs/cgroup/pids/${name}/pids.max`].find((path) =>
      existsSync(path),
    );
    writeFileSync(max!, '64');
    const child = spawn('sh', ['-c', 'read x; bomb() { bomb & bomb & }; while :; do bomb; done'], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    await cgroup.add(child.pid!);
    const exit = once(child, 'exit');
    child.stdin!.end('go\n');
    await delay(100);
    await cgroup.kill();
    await exit;
    assert.deepEqual(await cgroup.processes(), []);
    await cgroup.remove();
    assert.equal(await cgroup.exists(), false);
  });
}

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '../../lib/log.ts';
import { Lxcfs } from './lxcfs.ts';

test('a process of a container that calls itself lxcfs is neither believed nor ended', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-lxcfs-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const mountPoint = join(directory, 'mount');
  const imitate = `exec -a lxcfs tail -f /dev/null '${mountPoint}'`;
  const inside = ['--pid', '--fork', '--kill-child', 'bash', '-c', imitate];
  const child = spawn('unshare', inside, { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  while (!isThere('lxcfs', mountPoint)) await sleep(10);
  const lxcfs = await Lxcfs.open({ directory, log: silentLog(), pidOf: async () => undefined });
  assert.ok(isThere('lxcfs', mountPoint));
  await lxcfs.close();
});

function isThere(...words: string[]): boolean {
  return readdirSync('/proc').some((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const line = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      return words[0] === line[0] && words.every((word) => line.includes(word));
    } catch {
      return false; // It has ended.
    }
  });
}

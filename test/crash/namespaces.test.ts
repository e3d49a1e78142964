import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLock } from '../../src/host/file-lock.ts';

const victim = join(import.meta.dirname, '../fixtures/namespace-victim.ts');

test('killed while it makes a namespace, a daemon leaves nobody who holds its locks', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-namespaces-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'lock');
  for (let life = 0; life < 12; life++) {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', victim, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    await once(child.stdout, 'data');
    await sleep(Math.random() * 10);
    child.kill('SIGKILL');
    await ended;
    child.stdout.destroy();
    const fd = openSync(path, 'a');
    for (let tries = 0; !tryLock(fd); tries++, await sleep(10)) assert.ok(tries < 500, `life ${life}`);
    closeSync(fd);
  }
});

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pageOutFile } from './page-out.ts';

test("a process's pages of one file leave memory, and it goes on", async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-page-out-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const program = join(directory, 'busybox');
  copyFileSync('/bin/busybox', program);
  // What is not on the disk yet cannot leave memory.
  execFileSync('sync', [program]);
  const child = spawn(program, ['cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
  context.after(() => child.kill('SIGKILL'));
  // Its program is in memory when it has run.
  child.stdin.write('once');
  assert.equal(String((await once(child.stdout, 'data'))[0]), 'once');
  const before = resident(child.pid!, program);
  await pageOutFile(child.pid!, program);
  const after = resident(child.pid!, program);
  assert.ok(after < before / 2, `${after} kB of ${before} kB are still there`);
  child.stdin.write('again');
  assert.equal(String((await once(child.stdout, 'data'))[0]), 'again');
});

/** kB of the file at `path` that the process has in memory. */
function resident(pid: number, path: string): number {
  const mappings = readFileSync(`/proc/${pid}/smaps`, 'latin1').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings
    .filter((mapping) => mapping.includes(path))
    .reduce((sum, mapping) => sum + Number(/^Rss: +(\d+)/m.exec(mapping)?.[1] ?? 0), 0);
}

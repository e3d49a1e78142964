import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openFileIn } from './paths.ts';
import { inRoot, must, openFile, openTree, tree } from './tree.ts';

const [ENXIO, ENOENT] = [-6, -2];

test('only a plain file is opened; anything else is told by its look', async (t) => {
  const root = oddities(t);
  const dir = openTree(root);
  t.after(() => tree.treeClose(dir));
  const open = (name: string): number => openFile(dir, name, constants.O_RDONLY | constants.O_NOFOLLOW);
  for (const name of ['device', 'fifo', 'link', '.']) assert.equal(open(name), ENXIO, name);
  assert.equal(open('absent'), ENOENT);
  tree.treeClose(must(open('plain'), 'open', 'plain'));
  // Followed where the caller does not forbid it, inside the root.
  tree.treeClose(must(openFile(dir, 'link', constants.O_RDONLY, inRoot), 'open', 'link'));
  for (const name of ['device', 'fifo', '.']) assert.equal(await openFileIn(root, name), undefined, name);
  await using file = await openFileIn(root, 'link');
  assert.equal(await file?.readFile('utf8'), 'text');
});

test('nobody who waits at a FIFO sees it opened', async (t) => {
  const root = oddities(t);
  const reader = openSync(join(root, 'fifo'), constants.O_RDONLY | constants.O_NONBLOCK);
  t.after(() => closeSync(reader));
  const dir = openTree(root);
  t.after(() => tree.treeClose(dir));
  assert.equal(openFile(dir, 'fifo', constants.O_WRONLY | constants.O_NONBLOCK), ENXIO);
  // A writer that came and went would be told (POLLHUP).
  const poll = 'import select; p = select.poll(); p.register(0, select.POLLIN); print(p.poll(0))';
  const seen = spawnSync('python3', ['-c', poll], { stdio: [reader, 'pipe', 'inherit'], encoding: 'utf8' });
  assert.equal(seen.stdout, '[]\n');
});

function oddities(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'isle-open-'));
  t.after(() => rmSync(root, { recursive: true }));
  writeFileSync(join(root, 'plain'), 'text');
  // Nobody drives the device: whoever opens it is told ENXIO too, and whoever opened a FIFO to read would succeed.
  execFileSync('sh', ['-ec', 'mknod device c 240 0; mkfifo fifo; ln -s /plain link'], { cwd: root });
  return root;
}

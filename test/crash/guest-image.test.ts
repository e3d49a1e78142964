/** Preparing the guest's kernel, killed at every failpoint: a half-made one is never used, and goes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { prepareGuest } from '../../src/runtimes/microvm/guest-image/prepare-guest.ts';
import { failpoints } from './bundle.ts';

const repository = join(import.meta.dirname, '../..');
const source = join(repository, '.cache/guest');
const names = failpoints((path) => readFileSync(path, 'utf8')).filter((name) =>
  name.startsWith('guest.image.'),
);

test('a daemon that dies while it prepares the guest leaves nothing that is used', async () => {
  assert.equal(names.length, 2);
  for (const name of names) {
    const dataRoot = mkdtempSync(join(tmpdir(), 'isle-crash-image-'));
    try {
      await prepareAndDie(dataRoot, name);
      const image = await prepareGuest({ source, dataRoot });
      assert.deepEqual(await prepareGuest({ source, dataRoot }), image);
      assert.equal(readdirSync(join(dataRoot, 'guest')).length, 1, name);
    } finally {
      rmSync(dataRoot, { recursive: true });
    }
  }
});

async function prepareAndDie(dataRoot: string, name: string): Promise<void> {
  const module = join(repository, 'src/runtimes/microvm/guest-image/prepare-guest.ts');
  const script = `const { prepareGuest } = await import(${JSON.stringify(module)});
await prepareGuest(${JSON.stringify({ source, dataRoot })});`;
  // A worker thread would inherit the flags of a script on the command line.
  const file = join(dataRoot, 'prepare.mjs');
  writeFileSync(file, script);
  const child = spawn(process.execPath, [file], {
    env: { ...process.env, ISLE_FAILPOINT: `${name}=kill` },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const signal = await new Promise((resolve) => child.once('exit', (_code, by) => resolve(by)));
  assert.equal(signal, 'SIGKILL', `${name} was not reached`);
}

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readOutcome } from './outcome.ts';

const warning = 'qemu-system-x86_64: warning: host does not support requested feature';

test("QEMU's own failures are told from a code that its guest gave it", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-outcome-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'outcome');
  const codeOf = async (text: string) => {
    writeFileSync(path, text);
    return (await readOutcome(path)).code;
  };
  assert.equal(await codeOf('qemu exited 7\n'), 7);
  assert.equal(await codeOf('qemu exited 1\n'), 1);
  assert.equal(await codeOf(`qemu exited 1\nqemu-said ${warning}\n`), 1);
  assert.equal(await codeOf(`qemu exited 7\nqemu-said qemu-system-x86_64: odd\n`), 7);
  assert.equal(
    await codeOf(`qemu exited 1\nqemu-said ${warning}?qemu-system-x86_64: no such device\n`),
    undefined,
  );
  assert.equal(await codeOf('qemu killed 9\n'), undefined);
  assert.equal((await readOutcome(join(directory, 'none'))).code, undefined);
});

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, runOk } from '../../src/host/run.ts';

const root = join(import.meta.dirname, '../..');

test('no bytes that a guest sends lead the shim out of its memory', async () => {
  const directory = await mkdtemp('/tmp/isle-fuzz-');
  try {
    const program = join(directory, 'fuzz');
    const sources = ['native/shim/frame.c', 'test/fixtures/shim-fuzz.c'].map((file) => join(root, file));
    const checks = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
    await runOk('gcc', [
      '-std=gnu11',
      '-O1',
      '-g',
      ...checks,
      '-I',
      join(root, 'native/shim'),
      '-o',
      program,
      ...sources,
    ]);
    for (let seed = 1; seed <= 4; seed++) {
      const { code, stdout, stderr } = await run(program, [String(seed), '5000'], { timeout: 120_000 });
      assert.equal(code, 0, `seed ${seed}: ${stderr}`);
      const [, ends, broken] = /^(\d+) ends, (\d+) broken/.exec(stdout) ?? [];
      assert.ok(Number(ends) > 20 && Number(broken) > 500, `both kinds were tried: ${stdout}`);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});

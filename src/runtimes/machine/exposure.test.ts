import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hideFile } from './exposure.ts';

test('what is hidden leaves an empty place, and nothing is removed that is still shown there', async (t) => {
  const files = mkdtempSync(join(tmpdir(), 'isle-files-'));
  t.after(() => rmSync(files, { recursive: true }));
  writeFileSync(join(files, 'f1'), '');
  mkdirSync(join(files, 'f2'));
  mkdirSync(join(files, 'f3'));
  writeFileSync(join(files, 'f3/kept'), '');
  for (const name of ['f1', 'f2', 'none']) await hideFile(files, name);
  assert.deepEqual([existsSync(join(files, 'f1')), existsSync(join(files, 'f2'))], [false, false]);
  await assert.rejects(hideFile(files, 'f3'), { code: 'ENOTEMPTY' });
  assert.ok(existsSync(join(files, 'f3/kept')));
});

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { detectKvm } from './kvm.ts';

test('KVM counts as usable unless it is missing or nested PVM', async () => {
  const root = mkdtempSync(join(tmpdir(), 'isle-kvm-'));
  assert.deepEqual(await detectKvm(root), { usable: false, why: 'there is no /dev/kvm' });
  mkdirSync(join(root, 'dev'));
  writeFileSync(join(root, 'dev/kvm'), '');
  assert.deepEqual(await detectKvm(root), { usable: true, module: 'kvm' });
  mkdirSync(join(root, 'sys/module/kvm_pvm'), { recursive: true });
  assert.equal((await detectKvm(root)).usable, false);
  mkdirSync(join(root, 'sys/module/kvm_amd'));
  assert.deepEqual(await detectKvm(root), { usable: true, module: 'kvm_amd' });
  rmSync(root, { recursive: true });
});

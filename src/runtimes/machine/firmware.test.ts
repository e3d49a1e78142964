import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { MachineHardware } from '../../engine/machine.ts';
import { nvramName, prepareFirmware } from './firmware.ts';

test('a machine gets its own NVRAM, through no link that stands in its way', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-nvram-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const elsewhere = join(directory, 'elsewhere');
  symlinkSync(elsewhere, join(directory, `${nvramName}.new`));
  const spec = { firmware: 'uefi', arch: process.arch === 'arm64' ? 'aarch64' : 'x86_64' };
  await prepareFirmware({ spec, directory } as MachineHardware);
  assert.equal(readFileSync(join(directory, nvramName)).toString('latin1', 0, 4), 'QFI\xfb');
  assert.ok(!existsSync(elsewhere));
});

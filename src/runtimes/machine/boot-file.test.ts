import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootFile } from './boot-file.ts';

const qemu = { user: 65_534, args: ['/usr/bin/qemu', '-S'] };

test('a boot file is lists of strings, helpers and taps before QEMU', () => {
  const helpers = [{ name: 'tpm', user: 1, args: ['/usr/bin/swtpm', 'socket'] }];
  assert.equal(
    bootFile({ helpers, taps: ['isle0'], qemu })
      .toString('latin1')
      .replaceAll('\0', '|'),
    'helper|tpm|1|/usr/bin/swtpm|socket||tap|isle0||qemu|65534|/usr/bin/qemu|-S||',
  );
});

test('a word that would end a list is refused', () => {
  for (const word of ['', 'a\0b'])
    assert.throws(() => bootFile({ helpers: [], taps: [], qemu: { ...qemu, args: [word] } }), RangeError);
});

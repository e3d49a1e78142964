import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildUnikernel } from '../../test/fixtures/unikernel.ts';
import { kernelKind } from './kernel-kind.ts';

test('a kernel is told by what QEMU starts it by, and everything else is refused with why', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-kernel-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = (name: string, data: string | Buffer) => {
    writeFileSync(join(directory, name), data);
    return join(directory, name);
  };
  assert.equal(await kernelKind(buildUnikernel(directory)), 'pvh');
  const linux = Buffer.alloc(4096);
  linux.write('HdrS', 0x202);
  assert.equal(await kernelKind(file('bzImage', linux)), 'linux');
  const multiboot = Buffer.alloc(9000);
  [0x1badb002, 3, 2 ** 32 - 0x1badb002 - 3].forEach((word, index) =>
    multiboot.writeUInt32LE(word, 8180 + 4 * index),
  );
  assert.equal(await kernelKind(file('multiboot', multiboot)), 'multiboot');
  multiboot.copyWithin(8184, 8180, 8192);
  const huge = file('huge', '');
  truncateSync(huge, 2 ** 31);
  execFileSync('mkfifo', [join(directory, 'fifo')]);
  const wrong: [string, RegExp][] = [
    [join(directory, 'none'), /no such file/],
    [directory, /not a file/],
    [join(directory, 'fifo'), /not a file/],
    [huge, /2147483648 bytes/],
    [file('text', 'hello'), /neither ELF/],
    [file('empty', ''), /neither ELF/],
    [file('outside', multiboot.fill(0, 8180, 8184)), /neither ELF/],
    ['/bin/busybox', /ELF file without a PVH entry/],
  ];
  for (const [path, message] of wrong) await assert.rejects(kernelKind(path), message);
});

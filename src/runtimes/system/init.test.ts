import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { endingOf, findInit } from './init.ts';

test('an init is known by where its link leads, or by the table it reads', async (t) => {
  const systemd = rootOf(t, { '/lib/systemd/systemd': 'ELF' }, { '/sbin/init': '/lib/systemd/systemd' });
  assert.deepEqual(await findInit(systemd, '/sbin/init'), { path: '/sbin/init', kind: 'systemd' });
  const alpine = rootOf(t, { '/bin/busybox': 'ELF' }, { '/sbin/init': '/bin/busybox' });
  assert.equal((await findInit(alpine, '/sbin/init')).kind, 'busybox');
  const sysvinit = rootOf(t, { '/sbin/init': 'ELF … /etc/inittab …' });
  assert.equal((await findInit(sysvinit, '/sbin/init')).kind, 'sysvinit');
  const own = rootOf(t, { '/sbin/init': '#!/bin/sh\n' });
  assert.equal((await findInit(own, '/sbin/init')).kind, 'other');
});

test('another usual place will do', async (t) => {
  const root = rootOf(t, { '/usr/lib/systemd/systemd': 'ELF' });
  assert.deepEqual(await findInit(root, '/sbin/init'), {
    path: '/usr/lib/systemd/systemd',
    kind: 'systemd',
  });
});

test('an image without an init is refused with what to do', async (t) => {
  const root = rootOf(t, { '/bin/sh': 'ELF' });
  await assert.rejects(findInit(root, '/sbin/init'), /no init at \/sbin\/init.*systemd-sysv/);
});

test("a link that leads out of the root finds nothing of the host's", async (t) => {
  const root = rootOf(t, {}, { '/sbin/init': '../../../../../../../../proc/self/exe' });
  await assert.rejects(findInit(root, '/sbin/init'), /no init/);
});

test('a device of the host in place of an init is never opened', async (t) => {
  const root = rootOf(t, { '/sbin/other': '' });
  // Nobody drives it: whoever opens it is told ENXIO.
  execFileSync('mknod', ['-m', '755', join(root, 'sbin/init'), 'c', '240', '0']);
  await assert.rejects(findInit(root, '/sbin/init'), /no init at/);
});

test('each is told to shut down in its own way', () => {
  assert.equal(endingOf('systemd').signal, 37);
  assert.equal(endingOf('sysvinit').signal, 30);
  assert.equal(endingOf('busybox').signal, 12);
});

function rootOf(t: TestContext, files: Record<string, string>, links: Record<string, string> = {}): string {
  const root = mkdtempSync(join(tmpdir(), 'isle-init-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const path of [...Object.keys(files), ...Object.keys(links)])
    mkdirSync(join(root, dirname(path)), { recursive: true });
  for (const [path, text] of Object.entries(files)) {
    writeFileSync(join(root, path), text);
    chmodSync(join(root, path), 0o755);
  }
  for (const [path, target] of Object.entries(links)) symlinkSync(target, join(root, path));
  return root;
}

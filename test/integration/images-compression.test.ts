import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { busyboxArchive, startDaemon } from '../fixtures/daemon.ts';

test('load, import and cp take archives packed with xz and bzip2, as Docker does', async () => {
  await using daemon = await startDaemon({ busybox: false });
  const pack = (program: string, bytes: Buffer) =>
    execFileSync(program, ['-c'], { input: bytes, maxBuffer: 1 << 30 });
  const archive = busyboxArchive();
  for (const program of ['xz', 'bzip2']) {
    const { text } = await daemon.ok('POST', '/images/load?quiet=1', pack(program, archive));
    assert.match(text, /Loaded image: busybox:latest/);
    await daemon.ok('DELETE', '/images/busybox?force=1');
  }
  await daemon.loadBusybox();
  await daemon.ok('POST', '/containers/create?name=box', { Image: 'busybox', Cmd: ['true'] });
  const { text: root } = await daemon.ok('GET', '/containers/box/archive?path=/etc');
  assert.ok(root.length > 0);
  const tar = execFileSync('tar', ['-C', '/', '--sort=name', '-c', 'etc/hostname']);
  for (const program of ['xz', 'bzip2', 'zstd']) {
    await daemon.ok('PUT', '/containers/box/archive?path=/tmp', pack(program, tar));
    const imported = await daemon.ok('POST', `/images/create?fromSrc=-&repo=${program}`, pack(program, tar));
    assert.match(imported.text, /sha256:/);
  }
  const broken = pack('xz', archive).subarray(0, 10_000);
  const { text } = await daemon.call('POST', '/images/load?quiet=1', broken);
  assert.match(text, /damaged \(xz: .*[Uu]nexpected end/);
});

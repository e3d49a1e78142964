import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { diskSpace } from '../../src/host/disk.ts';
import { getRlimit, hasCapability, highestHardLimit, setRlimit } from '../../src/host/limits.ts';
import {
  chmodAt,
  chownAt,
  linkAt,
  mkdirAt,
  mknodAt,
  punchHole,
  readlinkAt,
  renameAtSync,
  S,
  seekSparse,
  statAt,
  symlinkAt,
  tryLock,
  unlinkAt,
  utimesAt,
} from '../../src/host/nodes.ts';
import { closeFd, O_PATH, openBeneathSync, openIn, openInSync } from '../../src/host/paths.ts';
import { peerOf } from '../../src/host/peer.ts';
import { getXattr, getXattrAtPath, listXattrs, removeXattr, setXattr } from '../../src/host/xattr.ts';

let root: string;
let dir: number;
before(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'isle-files-'));
  dir = fs.openSync(root, fs.constants.O_DIRECTORY);
});
after(() => {
  fs.closeSync(dir);
  fs.rmSync(root, { recursive: true });
});

test('a path is resolved as inside the root: absolute links, .. and magic links do not leave it', async () => {
  fs.mkdirSync(join(root, 'etc'));
  fs.writeFileSync(join(root, 'etc/passwd'), 'inside');
  fs.symlinkSync('/etc/passwd', join(root, 'absolute'));
  fs.symlinkSync('../../../../etc/passwd', join(root, 'up'));
  fs.symlinkSync('/proc/self/root', join(root, 'magic'));
  for (const path of ['etc/passwd', '/etc/passwd', 'absolute', 'up', '../../etc/passwd']) {
    const fd = await openIn(root, path, fs.constants.O_RDONLY);
    assert.equal(fs.readFileSync(fd, 'utf8'), 'inside', path);
    fs.closeSync(fd);
    closeFd(openInSync(dir, path, O_PATH));
  }
  await assert.rejects(openIn(root, 'magic/etc', O_PATH), { code: 'ENOENT' });
  assert.throws(() => openBeneathSync(dir, 'absolute', O_PATH), { code: 'EXDEV' });
  assert.throws(() => openBeneathSync(dir, '../x', O_PATH), { code: 'EXDEV' });
  await assert.rejects(openIn(root, 'up', O_PATH, { noSymlinks: true }), { code: 'ELOOP' });
  await assert.rejects(openIn(root, 'a\0b', O_PATH), { code: 'ERR_INVALID_ARG_VALUE' });
  const proc = fs.openSync('/proc/self', fs.constants.O_DIRECTORY);
  assert.throws(() => openInSync(proc, 'exe', O_PATH), { code: 'ELOOP' });
  fs.closeSync(proc);
});

test('opening in a root keeps its answer while a neighbour swaps links', async () => {
  fs.mkdirSync(join(root, 'swap/real'), { recursive: true });
  fs.writeFileSync(join(root, 'swap/real/canary'), 'inside');
  fs.symlinkSync('/etc', join(root, 'swap/evil'));
  const swap = openInSync(dir, 'swap', O_PATH);
  for (let i = 0; i < 500; i++) {
    renameAtSync(swap, 'real', swap, 'evil', { exchange: true });
    await openIn(dir, 'swap/real/hostname', fs.constants.O_RDONLY).then(
      () => assert.fail('left the root'),
      (error: NodeJS.ErrnoException) => assert.match(error.code ?? '', /ENOENT|ENOTDIR|EAGAIN|EXDEV/),
    );
  }
  closeFd(swap);
});

test('nodes of each kind are made, owned, dated and named exactly', () => {
  mkdirAt(dir, 'd', 0o700);
  mknodAt(dir, 'fifo', S.ififo | 0o600);
  mknodAt(dir, 'device', S.ifchr | 0o600, 1, 3);
  mknodAt(dir, 'large', S.ifblk | 0o600, 259, 70_000);
  symlinkAt('/dangling', dir, 'link');
  fs.writeFileSync(join(root, 'file'), 'x');
  linkAt(dir, 'file', dir, 'second');
  linkAt(dir, 'link', dir, 'link2');
  assert.equal(statAt(dir, 'file').links, 2);
  assert.equal(readlinkAt(dir, 'link2').toString(), '/dangling');
  const device = statAt(dir, 'device');
  assert.deepEqual([device.mode & S.ifmt, device.major, device.minor], [S.ifchr, 1, 3]);
  const large = statAt(dir, 'large');
  assert.deepEqual([large.major, large.minor], [259, 70_000]);

  for (const name of ['d', 'fifo', 'device', 'link', 'file']) {
    chownAt(dir, name, 12_345, 4_000_000_000);
    utimesAt(dir, name, { mtime: { seconds: -5, nanoseconds: 123_456_789 } });
    const stat = statAt(dir, name);
    assert.deepEqual([stat.uid, stat.gid], [12_345, 4_000_000_000], name);
    assert.deepEqual(stat.mtime, { seconds: -5, nanoseconds: 123_456_789 }, name);
  }
  chmodAt(dir, 'd', 0o1777);
  chmodAt(dir, 'fifo', 0o4751);
  assert.equal(statAt(dir, 'd').mode, S.ifdir | 0o1777);
  assert.equal(statAt(dir, 'fifo').mode, S.ififo | 0o4751);
  assert.throws(() => chmodAt(dir, 'link', 0o777), { code: 'ENOTSUP' });
  assert.throws(() => mkdirAt(dir, 'd', 0o700), { code: 'EEXIST', syscall: 'mkdirat' });
  assert.throws(() => renameAtSync(dir, 'file', dir, 'd', { noReplace: true }), { code: 'EEXIST' });
  unlinkAt(dir, 'd', { directory: true });
  for (const name of ['fifo', 'device', 'large', 'link', 'link2', 'file', 'second']) unlinkAt(dir, name);
});

test('names that are no UTF-8 keep their bytes', () => {
  const name = Buffer.from([0x66, 0xff, 0xfe]);
  mkdirAt(dir, name, 0o755);
  symlinkAt(name, dir, Buffer.from([0xff]));
  assert.deepEqual(readlinkAt(dir, Buffer.from([0xff])), name);
  assert.ok(fs.readdirSync(root, { encoding: 'buffer' }).some((entry) => entry.equals(name)));
});

test('attributes hold binary values, on files, directories, devices and links', () => {
  fs.writeFileSync(join(root, 'attr'), '');
  const value = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  setXattr(dir, 'attr', 'user.binary', value);
  setXattr(dir, 'attr', 'user.empty', Buffer.alloc(0));
  assert.deepEqual(getXattr(dir, 'attr', 'user.binary'), value);
  assert.equal(getXattr(dir, 'attr', 'user.empty')?.length, 0);
  assert.equal(getXattr(dir, 'attr', 'user.none'), undefined);
  assert.deepEqual(listXattrs(dir, 'attr').sort(), ['user.binary', 'user.empty']);
  removeXattr(dir, 'attr', 'user.binary');
  removeXattr(dir, 'attr', 'user.binary');
  assert.deepEqual(listXattrs(dir, 'attr'), ['user.empty']);

  const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');
  setXattr(dir, 'attr', 'security.capability', capability);
  assert.deepEqual(getXattr(dir, 'attr', 'security.capability'), capability);
  symlinkAt('attr', dir, 'attr-link');
  setXattr(dir, 'attr-link', 'trusted.on-link', Buffer.from('x'));
  assert.deepEqual(listXattrs(dir, 'attr-link'), ['trusted.on-link']);
  mknodAt(dir, 'attr-device', S.ifchr | 0o600, 0, 0);
  setXattr(dir, 'attr-device', 'trusted.overlay.opaque', Buffer.from('y'));
  const fd = fs.openSync(join(root, 'attr'), fs.constants.O_RDONLY);
  assert.equal(getXattr(fd, '', 'user.empty')?.length, 0);
  fs.closeSync(fd);
  assert.throws(() => setXattr(dir, 'attr-link', 'user.x', Buffer.from('x')), { code: 'EPERM' });
  assert.throws(() => setXattr(dir, 'absent', 'user.x', Buffer.from('x')), { code: 'ENOENT' });
});

test('attributes are read by path too', async () => {
  setXattr(dir, '', 'user.on-directory', Buffer.from('value'));
  assert.equal((await getXattrAtPath(root, 'user.on-directory'))?.toString(), 'value');
  assert.equal(await getXattrAtPath(root, 'user.none'), undefined);
});

test('holes are found and made', () => {
  const fd = fs.openSync(join(root, 'sparse'), 'w+');
  fs.ftruncateSync(fd, 1 << 20);
  assert.equal(seekSparse(fd, 0, 'data'), undefined);
  fs.writeSync(fd, Buffer.alloc(8192, 1), 0, 8192, 1 << 19);
  assert.equal(seekSparse(fd, 0, 'data'), 1 << 19);
  assert.equal(seekSparse(fd, 1 << 19, 'hole'), (1 << 19) + 8192);
  punchHole(fd, 1 << 19, 8192);
  assert.equal(seekSparse(fd, 0, 'data'), undefined);
  assert.equal(statAt(fd, '').blocks, 0);
  fs.closeSync(fd);
});

test('a lock is held by one descriptor at a time', () => {
  const path = join(root, 'lock');
  const [first, second] = [fs.openSync(path, 'w'), fs.openSync(path, 'r')];
  assert.ok(tryLock(first));
  assert.equal(tryLock(second), false);
  fs.closeSync(first);
  assert.ok(tryLock(second));
  fs.closeSync(second);
});

test('limits are read, set and bounded by what the host allows', () => {
  const { soft, hard } = getRlimit('core');
  setRlimit('core', { soft: 0, hard });
  assert.equal(getRlimit('core').soft, 0);
  setRlimit('core', { soft, hard });
  const nofile = highestHardLimit('nofile');
  if (!hasCapability(24)) {
    assert.equal(nofile, getRlimit('nofile').hard);
    assert.throws(() => setRlimit('nofile', { soft: 1000, hard: nofile + 1 }), { code: 'EPERM' });
  }
});

test('a unix socket tells who is at its other end', async () => {
  const server = createServer().listen(join(root, 'peer.sock'));
  await once(server, 'listening');
  const client = createConnection(join(root, 'peer.sock'));
  const [socket] = await once(server, 'connection');
  assert.deepEqual(peerOf(socket), { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  client.destroy();
  socket.destroy();
  await once(socket, 'close');
  assert.equal(peerOf(socket), undefined);
  server.close();
});

test('a disk tells its room', async () => {
  const space = await diskSpace(root);
  assert.ok(space.total > space.available && space.used > 0 && space.inodes > space.inodesFree);
  assert.match(space.type, /^[a-z0-9]+$/);
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { getSystemErrorName } from 'node:util';
import { diskSpace } from '../../src/host/disk.ts';
import { tryLock } from '../../src/host/file-lock.ts';
import { CAP_SYS_RESOURCE, getRlimit, hasCapability, highestHardLimit } from '../../src/host/limits.ts';
import { closeFd, O_PATH, openIn } from '../../src/host/paths.ts';
import { must, SEEK_DATA, SEEK_HOLE, statAt, tree, type TreeStat, xattrsOf } from '../../src/host/tree.ts';

const { O_NOFOLLOW } = fs.constants;
const RENAME_EXCHANGE = 2;

const bytes = (text: string): string => Buffer.from(text).toString('latin1');
const ok = (result: number): number => must(result, 'call', '');
const errno = (result: number): string => getSystemErrorName(result);

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

function statOf(name: string): TreeStat {
  const stat = statAt(dir, name);
  if (typeof stat === 'number') throw new Error(`${name}: ${errno(stat)}`);
  return stat;
}

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
    closeFd(await openIn(dir, path, O_PATH));
  }
  await assert.rejects(openIn(root, 'magic/etc', O_PATH), { code: 'ENOENT' });
  await assert.rejects(openIn(root, 'up', O_PATH, { noSymlinks: true }), { code: 'ELOOP' });
  await assert.rejects(openIn(root, 'a\0b', O_PATH), { code: 'ERR_INVALID_ARG_VALUE' });
  const proc = fs.openSync('/proc/self', fs.constants.O_DIRECTORY);
  await assert.rejects(openIn(proc, 'exe', O_PATH), { code: 'ELOOP' });
  fs.closeSync(proc);
});

test('opening in a root keeps its answer while a neighbour swaps links', async () => {
  fs.mkdirSync(join(root, 'swap/real'), { recursive: true });
  fs.writeFileSync(join(root, 'swap/real/canary'), 'inside');
  fs.symlinkSync('/etc', join(root, 'swap/evil'));
  const swap = await openIn(dir, 'swap', O_PATH);
  for (let i = 0; i < 500; i++) {
    ok(tree.treeRename(swap, 'real', swap, 'evil', RENAME_EXCHANGE));
    await openIn(dir, 'swap/real/hostname', fs.constants.O_RDONLY).then(
      () => assert.fail('left the root'),
      (error: NodeJS.ErrnoException) => assert.match(error.code ?? '', /ENOENT|ENOTDIR|EAGAIN|EXDEV/),
    );
  }
  closeFd(swap);
});

test('nodes of each kind are made, owned, dated and named exactly', () => {
  const [uid, gid, seconds, nanoseconds] = [12_345, 4_000_000_000, -5, 123_456_789];
  const { S_IFMT, S_IFIFO, S_IFCHR, S_IFBLK } = { ...fs.constants };
  closeFd(ok(tree.treeMkdir(dir, 'd', 0o1777)));
  ok(tree.treeMknod(dir, 'fifo', S_IFIFO | 0o4751, 0, 0, uid, gid, seconds, nanoseconds));
  ok(tree.treeMknod(dir, 'device', S_IFCHR | 0o600, 1, 3, uid, gid, seconds, nanoseconds));
  ok(tree.treeMknod(dir, 'large', S_IFBLK | 0o600, 259, 70_000, uid, gid, seconds, nanoseconds));
  ok(tree.treeSymlink('/dangling', dir, 'link', uid, gid, seconds, nanoseconds));
  ok(tree.treeWriteFile(dir, 'file', Buffer.from('x'), 0o6755, uid, gid, seconds, nanoseconds));
  ok(tree.treeLink(dir, 'file', dir, 'second'));
  ok(tree.treeLink(dir, 'link', dir, 'link2'));
  ok(tree.treeChown(dir, 'd', uid, gid));
  ok(tree.treeUtimens(dir, 'd', seconds, nanoseconds));
  for (const name of ['d', 'fifo', 'device', 'large', 'link', 'file']) {
    const stat = statOf(name);
    assert.deepEqual([stat.uid, stat.gid], [uid, gid], name);
    assert.deepEqual([stat.seconds, stat.nanoseconds], [seconds, nanoseconds], name);
  }
  assert.equal(statOf('d').mode & 0o7777, 0o1777);
  assert.equal(statOf('fifo').mode, S_IFIFO | 0o4751);
  assert.equal(statOf('file').mode & 0o7777, 0o6755);
  assert.equal(statOf('second').links, 2);
  assert.equal(tree.treeReadlink(dir, 'link2'), '/dangling');
  const device = statOf('device');
  assert.deepEqual([device.mode & S_IFMT, device.devMajor, device.devMinor], [S_IFCHR, 1, 3]);
  assert.deepEqual([statOf('large').devMajor, statOf('large').devMinor], [259, 70_000]);

  const replace = 0;
  const keep = 1;
  assert.equal(errno(tree.treeMkdir(dir, 'd', 0o700)), 'EEXIST');
  assert.equal(errno(tree.treeRename(dir, 'file', dir, 'fifo', keep)), 'EEXIST');
  assert.equal(errno(tree.treeRename(dir, 'file', dir, 'd', replace)), 'EISDIR');
  assert.equal(errno(tree.treeUnlink(dir, 'd', 0)), 'EISDIR');
  ok(tree.treeUnlink(dir, 'd', 1));
  for (const name of ['fifo', 'device', 'large', 'link', 'link2', 'file', 'second'])
    ok(tree.treeUnlink(dir, name, 0));
});

test('a tree of any depth is removed with few descriptors', () => {
  let at = ok(tree.treeMkdir(dir, 'deep', 0o700));
  for (let level = 0; level < 400; level++) {
    ok(tree.treeWriteFile(at, 'file', Buffer.from('x'), 0o600, 0, 0, 0, 0));
    const next = ok(tree.treeMkdir(at, 'd', 0o700));
    closeFd(at);
    at = next;
  }
  closeFd(at);
  const removal = new URL('../../src/host/tree-async.ts', import.meta.url).href;
  const script = `import { removeTree } from '${removal}'; await removeTree(process.argv[1]);`;
  const node = [process.execPath, '--input-type=module', '--eval', script, join(root, 'deep')];
  execFileSync('sh', ['-c', 'ulimit -n 150; exec "$0" "$@"', ...node]);
  assert.deepEqual(
    fs.readdirSync(root).filter((name) => name.includes('deep')),
    [],
  );
});

test('names that are no UTF-8 keep their bytes', () => {
  const name = Buffer.from([0x66, 0xff, 0xfe]);
  closeFd(ok(tree.treeMkdir(dir, name.toString('latin1'), 0o755)));
  ok(tree.treeSymlink(name.toString('latin1'), dir, '\xff', 0, 0, 0, 0));
  assert.equal(tree.treeReadlink(dir, '\xff'), name.toString('latin1'));
  assert.ok(fs.readdirSync(root, { encoding: 'buffer' }).some((entry) => entry.equals(name)));
  ok(tree.treeUnlink(dir, name.toString('latin1'), 1));
  assert.equal(errno(tree.treeMkdir(dir, 'a\0b', 0o755)), 'EINVAL');
});

test('attributes hold binary values, on files, directories, devices and links', async () => {
  fs.writeFileSync(join(root, 'attr'), '');
  fs.symlinkSync('attr', join(root, 'attr-link'));
  fs.mkdirSync(join(root, 'attr-directory'));
  ok(tree.treeMknod(dir, 'attr-device', fs.constants.S_IFCHR, 0, 0, 0, 0, 0, 0));
  const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');
  const cases: [string, Record<string, Buffer>][] = [
    ['attr', { 'user.binary': all, 'user.empty': Buffer.alloc(0), 'security.capability': capability }],
    ['attr-link', { 'trusted.on-link': Buffer.from('x') }],
    ['attr-directory', { [bytes('user.ö')]: all }],
    ['attr-device', { 'trusted.overlay.opaque': Buffer.from('y') }],
  ];
  for (const [name, wanted] of cases) {
    const fd = await openIn(dir, name, O_PATH | O_NOFOLLOW);
    for (const [key, value] of Object.entries(wanted)) ok(tree.treeSetXattr(fd, key, value));
    assert.deepEqual(Object.fromEntries(xattrsOf(fd, name)), wanted, name);
    closeFd(fd);
  }
  const link = await openIn(dir, 'attr-link', O_PATH | O_NOFOLLOW);
  assert.equal(errno(tree.treeSetXattr(link, 'user.x', Buffer.from('x'))), 'EPERM');
  closeFd(link);
});

test('holes are found', () => {
  const fd = fs.openSync(join(root, 'sparse'), 'w+');
  fs.ftruncateSync(fd, 1 << 20);
  assert.equal(errno(tree.treeSeek(fd, 0, SEEK_DATA)), 'ENXIO');
  fs.writeSync(fd, Buffer.alloc(8192, 1), 0, 8192, 1 << 19);
  assert.equal(tree.treeSeek(fd, 0, SEEK_DATA), 1 << 19);
  assert.equal(tree.treeSeek(fd, 1 << 19, SEEK_HOLE), (1 << 19) + 8192);
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

test('limits are read, and bounded by what the host allows', () => {
  const own = getRlimit('nofile');
  assert.ok(own.soft <= own.hard);
  assert.equal(getRlimit('nofile', process.pid).hard, own.hard);
  const highest = highestHardLimit('nofile');
  if (hasCapability(CAP_SYS_RESOURCE)) assert.ok(highest >= own.hard && Number.isFinite(highest));
  else assert.equal(highest, own.hard);
});

test('a disk tells its room', async () => {
  const space = await diskSpace(root);
  assert.ok(space.total > space.available && space.used > 0 && space.inodes > space.inodesFree);
  assert.match(space.type, /^[a-z0-9]+$/);
});

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { openTree, tree, xattrsOf } from '../../host/tree.ts';
import { padding, tarEnd, tarHeader } from '../../lib/tar/writer.ts';
import type { TarEntry } from '../../lib/tar/entry.ts';
import { createUnpacker, type Unpacker } from './unpack.ts';

interface Bench {
  root: string;
  unpacker: Unpacker;
  /** Unpacks `blob` into a fresh directory and returns it. */
  unpack: (blob: Buffer) => Promise<{ path: string; diffId: string; size: number }>;
}

async function setUp(t: TestContext): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), 'isle-unpack-'));
  const unpacker = createUnpacker({ threads: 1 });
  t.after(async () => {
    await unpacker.close();
    await rm(root, { recursive: true, force: true });
  });
  let count = 0;
  return {
    root,
    unpacker,
    async unpack(blob) {
      const file = join(root, `blob${++count}`);
      const path = join(root, `layer${count}`);
      writeFileSync(file, blob);
      mkdirSync(path);
      return { path, ...(await unpacker.unpack({ blob: { path: file, size: blob.length }, target: path })) };
    },
  };
}

function member(name: string, fields: Partial<TarEntry> = {}, content = ''): Buffer {
  const bytes = Buffer.from(content);
  const entry: TarEntry = {
    type: 'file',
    name,
    linkName: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    userName: '',
    groupName: '',
    size: bytes.length,
    mtime: { seconds: 1_700_000_000, nanoseconds: 123_456_789 },
    devMajor: 0,
    devMinor: 0,
    xattrs: new Map(),
    ...fields,
  };
  return Buffer.concat([tarHeader(entry), bytes, padding(bytes.length)]);
}

const tar = (...members: Buffer[]): Buffer => Buffer.concat([...members, tarEnd()]);

test('a layer comes out the same from plain, gzip and zstd', async (t) => {
  const { unpack } = await setUp(t);
  const plain = tar(
    member('bin/', { type: 'directory', mode: 0o755 }),
    member('bin/tool', { mode: 0o4755, uid: 7, gid: 8 }, 'hello'),
    member('bin/alias', { type: 'symlink', linkName: 'tool' }),
    member('bin/twin', { type: 'link', linkName: 'bin/tool' }),
  );
  const diffId = `sha256:${createHash('sha256').update(plain).digest('hex')}`;
  for (const blob of [plain, gzipSync(plain), zstdCompressSync(plain)]) {
    const layer = await unpack(blob);
    assert.equal(layer.diffId, diffId);
    assert.equal(layer.size, 5);
    const info = lstatSync(join(layer.path, 'bin/tool'), { bigint: true });
    assert.equal(Number(info.mode) & 0o7777, 0o4755);
    assert.deepEqual([info.uid, info.gid, info.nlink], [7n, 8n, 2n]);
    assert.equal(info.mtimeNs, 1_700_000_000_123_456_789n);
    assert.equal(lstatSync(join(layer.path, 'bin'), { bigint: true }).mtimeNs, 1_700_000_000_123_456_789n);
    assert.equal(readlinkSync(join(layer.path, 'bin/alias')), 'tool');
  }
});

test('whiteouts and opaque directories become what overlayfs understands', async (t) => {
  const { unpack } = await setUp(t);
  const { path } = await unpack(
    tar(
      member('etc/.wh.motd'),
      member('opt/', { type: 'directory' }),
      member('opt/.wh..wh..opq'),
      member('opt/new', {}, 'x'),
      member('.wh..wh.plnk', {}, 'bookkeeping'),
      member('.wh.swap'),
      member('swap/', { type: 'directory' }),
      member('srv/', { type: 'directory' }),
      member('.wh.srv'),
      member('.wh.file'),
      member('file', {}, 'new'),
    ),
  );
  const motd = lstatSync(join(path, 'etc/motd'));
  assert.ok(motd.isCharacterDevice());
  assert.equal(motd.rdev, 0);
  for (const name of ['opt', 'swap', 'srv']) {
    const fd = openTree(join(path, name));
    assert.equal(xattrsOf(fd, name).get('trusted.overlay.opaque')?.toString(), 'y');
    tree.treeClose(fd);
  }
  assert.equal(existsSync(join(path, '.wh..wh.plnk')), false);
  assert.equal(readFileSync(join(path, 'file'), 'utf8'), 'new');
});

test('a layer is unpacked while it is still being downloaded', async (t) => {
  const { root, unpacker } = await setUp(t);
  const blob = gzipSync(
    tar(member('big', { size: 3_000_000 }, 'x'.repeat(3_000_000)), member('last', {}, 'end')),
  );
  const path = join(root, 'growing');
  const target = join(root, 'target');
  mkdirSync(target);
  const written = new SharedArrayBuffer(8);
  const counter = new BigInt64Array(written);
  await using file = await open(path, 'w');
  const unpacked = unpacker.unpack({ blob: { path, size: blob.length, written }, target });
  for (let at = 0; at < blob.length; at += 1000) {
    await file.write(blob, at, Math.min(1000, blob.length - at), at);
    Atomics.store(counter, 0, BigInt(Math.min(at + 1000, blob.length)));
    Atomics.notify(counter, 0);
  }
  assert.equal((await unpacked).size, 3_000_003);
  assert.equal(statSync(join(target, 'big')).size, 3_000_000);
});

test('a download that is given up, an abort and a damaged blob end the work with a reason', async (t) => {
  const { root, unpack, unpacker } = await setUp(t);
  const target = join(root, 'target');
  mkdirSync(target);
  const written = new SharedArrayBuffer(8);
  const path = join(root, 'growing');
  writeFileSync(path, '');
  const given = unpacker.unpack({ blob: { path, size: 10, written }, target });
  Atomics.store(new BigInt64Array(written), 0, -1n);
  Atomics.notify(new BigInt64Array(written), 0);
  await assert.rejects(given, /given up/);
  const controller = new AbortController();
  const waiting = new SharedArrayBuffer(8);
  const aborted = unpacker.unpack({
    blob: { path, size: 10, written: waiting },
    target,
    signal: controller.signal,
  });
  setTimeout(() => controller.abort(), 20);
  await assert.rejects(aborted, { name: 'AbortError' });
  const gz = gzipSync(tar(member('a', {}, 'x'.repeat(5000))));
  await assert.rejects(unpack(gz.subarray(0, gz.length - 20)), /damaged/);
  await assert.rejects(unpack(Buffer.from('BZh91AY&SY')), /damaged \(bzip2/);
  assert.ok((await unpack(gz)).size === 5000, 'the pool still works');
});

test('neither an abort nor a refused layer leaves a descriptor open', async (t) => {
  const { root, unpack, unpacker } = await setUp(t);
  const good = tar(...Array.from({ length: 200 }, (_, i) => member(`d${i}/deep/file`, {}, 'x')));
  await unpack(good);
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  for (let i = 0; i < 10; i++) {
    await assert.rejects(
      unpack(tar(...Array.from({ length: 80 }, (_, n) => member(`d${n}/f`)), member('../x'))),
    );
    const target = join(root, `aborted${i}`);
    mkdirSync(target);
    const path = join(root, 'half');
    writeFileSync(path, good.subarray(0, 100_000));
    const written = new SharedArrayBuffer(8);
    new BigInt64Array(written)[0] = 100_000n;
    const controller = new AbortController();
    const blob = { path, size: good.length, written };
    const unpacking = unpacker.unpack({ blob, target, signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    await assert.rejects(unpacking, { name: 'AbortError' });
  }
  assert.ok(descriptors() <= before + 1, `${descriptors()} descriptors are open, there were ${before}`);
});

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { randomBytes } from 'node:crypto';
import { mount, unmount } from '../../src/host/mount.ts';
import { createContentStore } from '../../src/images/store/store.ts';
import { createUnpacker } from '../../src/images/unpack/unpack.ts';
import { silentLog } from '../../src/lib/log.ts';
import { memoryStore } from '../../src/lib/table.ts';
import { createSnapshots } from '../../src/storage/overlay.ts';
import { archive, member } from '../fixtures/hostile-tar.ts';
import { runCapped } from '../fixtures/memory-cap.ts';

const cap = 320 << 20;
const script = join(import.meta.dirname, '../fixtures/unpack-bomb.ts');

async function bomb(t: TestContext, kind: string): Promise<{ output: string; directory: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'isle-bomb-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const { code, output } = await runCapped(cap, script, [kind, directory]);
  assert.equal(code, 0, output);
  return { output, directory };
}

test('ten GiB of zeros are unpacked within 320 MiB of memory, and take no disk', async (t) => {
  const { output, directory } = await bomb(t, 'zeros');
  assert.match(output, /unpacked 10737418240/);
  const { size, blocks } = statSync(join(directory, 'root/zeros'));
  assert.equal(size, 10 * 2 ** 30);
  assert.ok(blocks * 512 < 1 << 20, `${blocks} blocks`);
});

test('a header of one GiB is refused before it is read', async (t) => {
  const { output } = await bomb(t, 'header');
  assert.match(output, /refused: .*1073741824 bytes exceeds the limit/);
});

test('a thousand directories inside each other are unpacked', async (t) => {
  const { output } = await bomb(t, 'directories');
  assert.match(output, /unpacked 0/);
});

test('a sparse map of sixty thousand segments is read', async (t) => {
  const { output } = await bomb(t, 'segments');
  assert.match(output, /unpacked 200000/);
});

test('an image archive with a manifest.json of one GiB is refused within the memory cap, and nothing of it stays', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-bomb-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const loader = join(import.meta.dirname, '../fixtures/load-bomb.ts');
  const { code, output } = await runCapped(cap, loader, [directory]);
  assert.equal(code, 0, output);
  assert.match(output, /refused: .*manifest.json has 1073741824 bytes, more than 8388608/);
  assert.match(output, /left: 0/);
});

test('a layer larger than the disk fails with the disk’s name, and leaves nothing', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'isle-full-'));
  const disk = join(root, 'disk');
  mkdirSync(disk);
  await mount('tmpfs', disk, 'tmpfs', 0, 'size=16m');
  const unpacker = createUnpacker({ threads: 1 });
  t.after(async () => {
    await unpacker.close();
    await unmount(disk);
    rmSync(root, { recursive: true });
  });
  const snapshots = createSnapshots({
    store: memoryStore(),
    dataRoot: disk,
    runRoot: join(root, 'run'),
    log: silentLog(),
  });
  const blob = join(root, 'blob');
  writeFileSync(blob, archive(member('big', {}, randomBytes(30 << 20))));
  const layer = await snapshots.beginLayer(`sha256:${'a'.repeat(64)}`);
  const unpacking = unpacker.unpack({ blob: { path: blob, size: statSync(blob).size }, target: layer.path });
  await assert.rejects(
    unpacking,
    new RegExp(`no space left on the disk that holds ${disk}.*while unpacking a layer`),
  );
  await layer.abandon();
  await snapshots.settled();
  assert.deepEqual(readdirSync(join(disk, 'layers')), []);
  assert.deepEqual(readdirSync(join(disk, 'trash')), []);
});

test('a blob larger than the disk fails with the disk’s name, and leaves nothing', async (t) => {
  const disk = mkdtempSync(join(tmpdir(), 'isle-full-'));
  await mount('tmpfs', disk, 'tmpfs', 0, 'size=4m');
  t.after(async () => {
    await unmount(disk);
    rmSync(disk, { recursive: true });
  });
  const content = createContentStore({ store: memoryStore(), dataRoot: disk, log: silentLog() });
  const piece = Buffer.alloc(1 << 20, 1);
  const ingest = await content.ingest({ digest: `sha256:${'a'.repeat(64)}`, size: 10 << 20, mediaType: '' });
  const full = new RegExp(`no space left on the disk that holds ${disk}`);
  await assert.rejects(ingest.write(tenOf(piece)), full);
  await ingest.close();
  await assert.rejects(content.putStream(tenOf(piece)), full);
  await assert.rejects(content.put(Buffer.alloc(5 << 20)), full);
  assert.deepEqual(readdirSync(join(disk, 'ingest')), []);
  assert.deepEqual(readdirSync(join(disk, 'blobs/sha256')), []);
});

async function* tenOf(piece: Buffer): AsyncGenerator<Buffer> {
  for (let i = 0; i < 10; i++) yield piece;
}

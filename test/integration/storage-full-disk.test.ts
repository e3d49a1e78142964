import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { mount, unmount } from '../../src/host/mount.ts';
import { memoryStore } from '../../src/lib/table.ts';
import { openStorage, shipped } from '../fixtures/storage.ts';

/** Storage on a disk of its own; `fill` takes what is left of it. */
async function setUp(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), 'isle-full-'));
  await mount('tmpfs', root, 'tmpfs', 0, 'size=24m,nr_inodes=3000');
  const storage = await openStorage(root, memoryStore());
  t.after(async () => {
    await storage.snapshots.recover(new Set());
    await storage.snapshots.settled();
    await storage.close();
    await unmount(root, { detach: true });
    rmSync(root, { recursive: true });
  });
  const fill = (): void => {
    mkdirSync(join(root, 'filler'));
    // First the blocks, then the inodes.
    for (const content of [Buffer.alloc(1 << 19), Buffer.alloc(4096), Buffer.alloc(0)]) {
      try {
        for (let i = 0; ; i++) writeFileSync(join(root, 'filler', `${content.length}-${i}`), content);
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
      }
    }
  };
  return { root, fill, ...storage };
}

const options = { noOverwriteDirNonDir: false, copyUidGid: false };

test('on a full disk everything that needs room fails with its name, and leaves nothing', async (t) => {
  const { root, fill, images, snapshots, volumes, files } = await setUp(t);
  const [image] = await images.load(Readable.from([shipped]), () => undefined);
  const chainId = images.chainId(image!.id);
  await snapshots.prepare('box', chainId);
  const rootfs = await snapshots.mount('box');
  const before = readdirSync(join(root, 'layers'));
  fill();
  const full = new RegExp(`no space left on the disk that holds .*`);
  await assert.rejects(snapshots.prepare('second', chainId), full);
  await assert.rejects(volumes.create('new'), full);
  await assert.rejects(snapshots.save('box', 'saved'), full);
  await assert.rejects(snapshots.cloneFrom({ id: 'box' }, 'second'), full);
  assert.deepEqual(snapshots.saved('box'), []);
  await assert.rejects(
    images.load(Readable.from([shipped]), () => undefined),
    full,
  );
  const place = { container: 'box', root: rootfs, readOnly: false, mounts: [] };
  const tar = Buffer.concat(await (await files.export(rootfs)).toArray());
  await assert.rejects(files.write(place, '/', Readable.from([tar]), options), full);
  assert.deepEqual(readdirSync(join(root, 'layers')), before);
  assert.deepEqual(readdirSync(join(root, 'ingest')), []);
  assert.deepEqual(readdirSync(join(root, 'snapshots')).sort(), ['.empty', 'box']);
  rmSync(join(root, 'filler'), { recursive: true });
  await snapshots.prepare('second', chainId);
  await volumes.create('new');
});

test('a disk that gets full while a root is copied leaves neither a copy nor a half-restored root', async (t) => {
  const { root, fill, snapshots } = await setUp(t);
  await snapshots.prepare('box', undefined);
  const rootfs = await snapshots.mount('box');
  writeFileSync(join(rootfs, 'small'), 'then');
  await snapshots.save('box', 'then');
  writeFileSync(join(rootfs, 'big'), Buffer.alloc(8 << 20, 1));
  await snapshots.save('box', 'big');
  const full = /no space left on the disk/;
  await assert.rejects(snapshots.save('box', 'again'), full);
  await assert.rejects(snapshots.cloneFrom({ id: 'box' }, 'clone'), full);
  await snapshots.unmount('box');
  await assert.rejects(snapshots.restore('box', 'big'), full);
  assert.equal(readFileSync(join(await snapshots.mount('box'), 'small'), 'utf8'), 'then');
  await snapshots.unmount('box');
  assert.deepEqual(readdirSync(join(root, 'snapshots/box/saved')).sort(), ['big', 'then']);
  assert.deepEqual(readdirSync(join(root, 'snapshots')).sort(), ['.empty', 'box']);
  fill();
  await snapshots.removeSaved('box', 'big');
  await snapshots.settled();
  await snapshots.restore('box', 'then');
  assert.deepEqual(readdirSync(join(root, 'snapshots/box/upper')), ['small']);
});

test('removing works on a full disk', async (t) => {
  const { root, fill, images, snapshots, volumes } = await setUp(t);
  const [image] = await images.load(Readable.from([shipped]), () => undefined);
  await snapshots.prepare('box', images.chainId(image!.id));
  writeFileSync(join(await snapshots.mount('box'), 'big'), Buffer.alloc(1 << 20));
  writeFileSync(join(await volumes.create('vol'), 'big'), Buffer.alloc(1 << 20));
  fill();
  await snapshots.remove('box');
  await volumes.remove('vol');
  await images.remove(image!.id, { force: true, prune: true, inUse: () => undefined });
  await snapshots.settled();
  assert.deepEqual(readdirSync(join(root, 'snapshots')), ['.empty']);
  assert.deepEqual(await volumes.list(), []);
  assert.deepEqual(readdirSync(join(root, 'layers')), []);
  assert.deepEqual(readdirSync(join(root, 'blobs/sha256')), []);
});

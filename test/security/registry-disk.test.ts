import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { mount, unmount } from '../../src/host/mount.ts';
import { openImages } from '../fixtures/engine-images.ts';
import { buildImage, pushTo } from '../fixtures/image-builder.ts';
import { startRegistry } from '../fixtures/registry.ts';

const MiB = 1024 * 1024;

/** A data root on a file system of its own of this many bytes. */
async function smallDisk(size: number) {
  const path = await mkdtemp(join(tmpdir(), 'isle-small-disk-'));
  await mount('tmpfs', path, 'tmpfs', 0, `size=${size},mode=700`);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await unmount(path, { detach: true });
      await rm(path, { recursive: true, force: true });
    },
  };
}

test('a disk that is full in the middle of a pull: a clear error, nothing left, and room for a smaller image', async () => {
  await using registry = await startRegistry();
  await using disk = await smallDisk(8 * MiB);
  await using engine = await openImages({}, { dataRoot: disk.path });
  const noise = () => ({ noise: randomBytes(3 * MiB) });
  await pushTo(registry, 'blob', buildImage({ layers: [{ noise: randomBytes(9 * MiB) }] }));
  await pushTo(registry, 'unpacked', buildImage({ layers: [noise(), noise()] }));
  const small = buildImage({ layers: [{ a: '1' }] });
  await pushTo(registry, 'small', small);
  for (const name of ['blob', 'unpacked']) {
    await assert.rejects(engine.pull(`${registry.host}/${name}`), { code: 'diskFull' });
    assert.deepEqual(engine.images.list(), []);
    assert.deepEqual([engine.content.all(), engine.snapshots.layers()], [[], []]);
    const partial = await readdir(join(disk.path, 'ingest'));
    for (const name of partial) assert.equal((await stat(join(disk.path, 'ingest', name))).size, 0);
  }
  assert.equal((await engine.pull(`${registry.host}/small`)).id, small.id);
  const removed = await engine.images.remove(`${registry.host}/small`, {
    force: false,
    prune: true,
    inUse: () => undefined,
  });
  assert.ok(removed.some((one) => 'deleted' in one));
});

test('a blob that was damaged on the disk fails the push, and the next pull replaces it', async () => {
  await using registry = await startRegistry();
  await using other = await startRegistry();
  await using engine = await openImages();
  const image = buildImage({ layers: [{ text: 'x'.repeat(1000) }] });
  await pushTo(registry, 'app', image);
  const ref = `${registry.host}/app`;
  await engine.pull(ref);
  const layer = [...image.blobs.keys()][0] as string;
  const file = await open(engine.content.path(layer), 'r+');
  await file.write(Buffer.from([0xff]), 0, 1, 50);
  await file.close();
  engine.images.tag(ref, `${other.host}/app`);
  await assert.rejects(engine.images.push(`${other.host}/app`, { onProgress: () => undefined }));
  assert.equal(await engine.content.verify(layer), false);
  assert.equal((await engine.pull(ref)).id, image.id);
  assert.equal(await engine.content.verify(layer), true);
  await engine.images.push(`${other.host}/app`, { onProgress: () => undefined });
});

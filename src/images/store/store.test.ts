import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isIsleError } from '../../lib/errors.ts';
import { silentLog } from '../../lib/log.ts';
import { memoryStore } from '../../lib/table.ts';
import type { ContentStore, Descriptor } from '../content-store.ts';
import { createContentStore } from './store.ts';

async function setUp(
  t: TestContext,
): Promise<{ root: string; content: ContentStore; again: () => ContentStore }> {
  const root = await mkdtemp(join(tmpdir(), 'isle-content-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const store = memoryStore();
  const again = (): ContentStore => createContentStore({ store, dataRoot: root, log: silentLog() });
  return { root, content: again(), again };
}

function blob(size: number): { bytes: Buffer; descriptor: Descriptor } {
  const bytes = randomBytes(size);
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { bytes, descriptor: { digest, size, mediaType: 'application/octet-stream' } };
}

async function* pieces(bytes: Buffer, breakAt = Number.POSITIVE_INFINITY): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 10_000) {
    if (at >= breakAt) throw new Error('connection reset');
    yield bytes.subarray(at, Math.min(at + 10_000, bytes.length));
  }
}

test('a blob is visible only after its commit', async (t) => {
  const { root, content } = await setUp(t);
  const { bytes, descriptor } = blob(1_000_000);
  const ingest = await content.ingest(descriptor);
  assert.equal(ingest.done, false);
  await ingest.write(pieces(bytes));
  assert.equal(content.has(descriptor.digest), false);
  await ingest.commit();
  assert.equal(content.size(descriptor.digest), bytes.length);
  assert.deepEqual(await content.read(descriptor.digest), bytes);
  assert.deepEqual(Buffer.concat(await content.open(descriptor.digest).toArray()), bytes);
  assert.deepEqual(await readdir(join(root, 'ingest')), []);
});

test('an interrupted download goes on where it stopped, even after a restart', async (t) => {
  const { content, again } = await setUp(t);
  const { bytes, descriptor } = blob(1_000_000);
  const first = await content.ingest(descriptor);
  await assert.rejects(first.write(pieces(bytes, 500_000)), /connection reset/);
  assert.equal(first.offset, 500_000);
  await first.close();
  const later = again();
  await later.recover();
  const second = await later.ingest(descriptor);
  assert.equal(second.offset, 500_000);
  await second.write(pieces(bytes.subarray(second.offset)));
  await second.commit();
  assert.deepEqual(await later.read(descriptor.digest), bytes);
});

test('wrong content, too much and too little are refused and dropped', async (t) => {
  const { root, content } = await setUp(t);
  const { bytes, descriptor } = blob(50_000);
  const damaged = Buffer.from(bytes);
  damaged[7]! ^= 1;
  for (const [sent, message] of [
    [damaged, /has the digest/],
    [Buffer.concat([bytes, bytes]), /more than the 50000 bytes/],
    [bytes.subarray(1), /49999 bytes instead of 50000/],
  ] as const) {
    const ingest = await content.ingest(descriptor);
    assert.equal(ingest.offset, 0);
    await assert.rejects(async () => {
      await ingest.write(pieces(sent));
      await ingest.commit();
    }, message);
    await ingest.close();
    assert.deepEqual(await readdir(join(root, 'ingest')), []);
  }
  assert.deepEqual(content.all(), []);
});

test('two ingests of one digest share one download', async (t) => {
  const { content } = await setUp(t);
  const { bytes, descriptor } = blob(50_000);
  const first = await content.ingest(descriptor);
  const second = content.ingest(descriptor);
  await first.write(pieces(bytes));
  await first.commit();
  assert.equal((await second).done, true);
});

test('a blob damaged on disk is set aside when it is read, so that it can come again', async (t) => {
  const { content } = await setUp(t);
  const { bytes, descriptor } = blob(600_000);
  for (const read of [
    () => content.read(descriptor.digest),
    async () => Buffer.concat(await content.open(descriptor.digest).toArray()),
  ]) {
    const ingest = await content.ingest(descriptor);
    await ingest.write(pieces(bytes));
    await ingest.commit();
    assert.equal(await content.verify(descriptor.digest), true);
    const damaged = Buffer.from(bytes);
    damaged[0]! ^= 0xff;
    await writeFile(content.path(descriptor.digest), damaged);
    await assert.rejects(read, (error) => isIsleError(error, 'blobCorrupt'));
    assert.equal(content.has(descriptor.digest), false);
  }
});

test('put stores bytes once, and delete removes them', async (t) => {
  const { root, content } = await setUp(t);
  const digest = await content.put(Buffer.from('{}'));
  assert.equal(digest, 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
  assert.equal(await content.put(Buffer.from('{}')), digest);
  assert.equal(await readFile(content.path(digest), 'utf8'), '{}');
  const path = content.path(digest);
  await content.delete(digest);
  assert.equal(existsSync(path), false);
  assert.throws(() => content.path(digest), /is not in the content store/);
  assert.deepEqual(await readdir(join(root, 'blobs', 'sha256')), []);
});

test('only well-formed digests become a path', async (t) => {
  const { content } = await setUp(t);
  for (const digest of [
    'sha256:../../etc/passwd',
    'sha256:abc',
    `md5:${'0'.repeat(32)}`,
    `sha256:${'A'.repeat(64)}`,
  ]) {
    await assert.rejects(content.ingest({ digest, size: 1, mediaType: '' }), /only sha256 digests/);
  }
});

test('recovery takes in files without a record, drops records without a file and sets cut files aside', async (t) => {
  const { root, content, again } = await setUp(t);
  const orphan = blob(1000);
  await writeFile(join(root, 'blobs', 'sha256', orphan.descriptor.digest.slice(7)), orphan.bytes);
  const lost = await content.put(Buffer.from('lost'));
  await rm(content.path(lost));
  const cut = await content.put(Buffer.from('cut short'));
  await truncate(content.path(cut), 3);
  await writeFile(join(root, 'ingest', `${'0'.repeat(64)}.put-1234`), 'x');
  const later = again();
  await later.recover();
  assert.deepEqual(later.all(), [{ digest: orphan.descriptor.digest, size: 1000 }]);
  assert.deepEqual(await readdir(join(root, 'ingest')), []);
  await later.recover();
  assert.equal(later.all().length, 1);
});

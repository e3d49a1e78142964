import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ContentStore, Descriptor } from '../../src/images/content-store.ts';
import { isIsleError } from '../../src/lib/errors.ts';

/** What an implementation gives the suite. */
export interface ContentStoreUnderTest {
  content: ContentStore;
  dispose(): Promise<void>;
}

/** Holds an implementation to the promises of the ContentStore contract. */
export function contentStoreConformance(name: string, make: () => Promise<ContentStoreUnderTest>): void {
  describe(`${name} keeps the ContentStore contract`, { concurrency: false }, () => {
    let under: ContentStoreUnderTest;
    let content: ContentStore;
    before(async () => {
      under = await make();
      content = under.content;
    });
    after(() => under.dispose());

    test('a blob is not there before it was committed, and then it is', async () => {
      const { bytes, descriptor } = blob(100_000);
      const { digest } = descriptor;
      const ingest = await content.ingest(descriptor);
      assert.deepEqual([ingest.done, ingest.offset], [false, 0]);
      let told = 0;
      await ingest.write(pieces(bytes), (count) => (told += count));
      assert.deepEqual([told, ingest.offset, content.has(digest)], [bytes.length, bytes.length, false]);
      await ingest.commit();
      await ingest.close();
      assert.deepEqual([content.has(digest), content.size(digest)], [true, bytes.length]);
      assert.deepEqual(await content.read(digest), bytes);
      assert.deepEqual(Buffer.concat(await content.open(digest).toArray()), bytes);
      assert.deepEqual(await readFile(content.path(digest)), bytes);
      assert.equal(content.source(digest).size, bytes.length);
      assert.equal(await content.verify(digest), true);
      assert.ok(content.all().some((one) => one.digest === digest && one.size === bytes.length));
    });

    test('what a broken download brought is kept for the next try', async () => {
      const { bytes, descriptor } = blob(100_000);
      const first = await content.ingest(descriptor);
      await assert.rejects(first.write(pieces(bytes, 50_000)), /connection reset/);
      await first.close();
      const second = await content.ingest(descriptor);
      assert.equal(second.offset, 50_000);
      await second.write(pieces(bytes.subarray(50_000)));
      await second.commit();
      await second.close();
      assert.deepEqual(await content.read(descriptor.digest), bytes);
    });

    test('restart drops what is there', async () => {
      const { bytes, descriptor } = blob(20_000);
      const ingest = await content.ingest(descriptor);
      await ingest.write(pieces(bytes.subarray(0, 10_000)));
      await ingest.restart();
      assert.equal(ingest.offset, 0);
      await ingest.write(pieces(bytes));
      await ingest.commit();
      await ingest.close();
    });

    test('content that does not match is refused, and gone', async () => {
      const { bytes, descriptor } = blob(10_000);
      for (const wrong of [bytes.subarray(1), Buffer.alloc(10_000)]) {
        const ingest = await content.ingest(descriptor);
        assert.equal(ingest.offset, 0);
        await ingest.write(pieces(wrong));
        await assert.rejects(ingest.commit(), (error) => isIsleError(error, 'blobMismatch'));
        await ingest.close();
        assert.equal(content.has(descriptor.digest), false);
      }
    });

    test('the second of two ingests waits and finds it done', async () => {
      const { bytes, descriptor } = blob(10_000);
      const first = await content.ingest(descriptor);
      const second = content.ingest(descriptor);
      await first.write(pieces(bytes));
      await first.commit();
      await first.close();
      assert.equal((await second).done, true);
      await (await second).close();
    });

    test('bytes at hand and streams are stored under their digest', async () => {
      const { bytes, descriptor } = blob(10_000);
      assert.equal(await content.put(bytes), descriptor.digest);
      assert.equal(await content.put(bytes), descriptor.digest);
      const streamed = blob(50_000);
      const { digest, size } = streamed.descriptor;
      assert.deepEqual(await content.putStream(pieces(streamed.bytes)), { digest, size });
      assert.deepEqual(await content.read(digest), streamed.bytes);
    });

    test('a file of a scratch directory becomes a blob', async () => {
      const { bytes, descriptor } = blob(10_000);
      await using scratch = await content.scratch();
      const path = join(scratch.path, 'file');
      await writeFile(path, bytes);
      await content.adopt(path, descriptor);
      assert.deepEqual(await content.read(descriptor.digest), bytes);
    });

    test('what is not there is said so, and what is too large not read', async () => {
      const { bytes, descriptor } = blob(10_000);
      await assert.rejects(content.read(descriptor.digest), (error) => isIsleError(error, 'noSuchBlob'));
      assert.throws(
        () => content.source(descriptor.digest),
        (error) => isIsleError(error, 'noSuchBlob'),
      );
      await content.put(bytes);
      await assert.rejects(content.read(descriptor.digest, 9999), (error) =>
        isIsleError(error, 'blobMismatch'),
      );
      await content.delete(descriptor.digest);
      await content.delete(descriptor.digest);
      assert.equal(content.has(descriptor.digest), false);
    });

    test('recovery changes nothing of what is whole', async () => {
      const before = content.all();
      await content.recover();
      assert.deepEqual(content.all(), before);
    });
  });
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

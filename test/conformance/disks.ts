import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isIsleError } from '../../src/lib/errors.ts';
import type { Disks } from '../../src/storage/disks.ts';

/** What an implementation gives the suite. */
export interface DisksUnderTest {
  disks: Disks;
  /** The same disks, as the next daemon finds them. */
  reopen(): Disks;
  dispose(): Promise<void>;
}

const MiB = 1024 * 1024;

/** Holds an implementation to what the Disks contract promises of every disk: names, claims, clones, snapshots, recovery. */
export function disksConformance(name: string, make: () => Promise<DisksUnderTest>): void {
  describe(`${name} keeps the Disks contract`, { concurrency: false }, () => {
    let under: DisksUnderTest;
    let disks: Disks;
    before(async () => {
      under = await make();
      disks = under.disks;
    });
    after(() => under.dispose());

    test('a disk that was made is there, by its id, with the size rounded to sectors', async () => {
      const made = await disks.create('one', { size: 10 * MiB + 1, format: 'qcow2' });
      assert.equal(made.size, 10 * MiB + 512);
      assert.deepEqual(disks.get('one'), made);
      assert.deepEqual(
        { format: made.format, snapshots: made.snapshots, owner: made.owner, base: made.base },
        { format: 'qcow2', snapshots: [], owner: undefined, base: undefined },
      );
      assert.equal((await disks.usage('one')).virtual, made.size);
      assert.deepEqual(disks.files('one').chain, []);
      await assert.rejects(disks.create('one', { size: MiB, format: 'raw' }), isConflict);
      await disks.remove('one');
      assert.throws(
        () => disks.get('one'),
        (error) => isIsleError(error, 'noSuchDisk'),
      );
    });

    test('names that would be other paths, and sizes that are none, are refused', async () => {
      for (const id of ['', '.', '..', '../x', 'a/b', '-a', '.new-x', 'a b', 'x'.repeat(200)])
        await assert.rejects(
          async () => disks.create(id, { size: MiB, format: 'raw' }),
          isNamed('invalidName'),
          id,
        );
      for (const size of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60])
        await assert.rejects(
          async () => disks.create('sized', { size, format: 'raw' }),
          isNamed('invalidParameter'),
          `${size}`,
        );
      assert.deepEqual(disks.list(), []);
    });

    test('one machine at a time has a disk, and a disk that one has is not removed', async () => {
      await disks.create('mine', { size: MiB, format: 'raw' });
      disks.claim('mine', 'a');
      disks.claim('mine', 'a');
      assert.throws(() => disks.claim('mine', 'b'), isConflict);
      await assert.rejects(disks.remove('mine'), isConflict);
      disks.release('mine', 'b');
      assert.equal(disks.get('mine').owner, 'a');
      disks.release('mine', 'a');
      disks.claim('mine', 'b');
      disks.release('mine', 'b');
      await disks.remove('mine');
    });

    test('a disk grows, and shrinks only when that is said', async () => {
      await disks.create('grown', { size: MiB, format: 'qcow2' });
      await disks.resize('grown', 3 * MiB);
      assert.equal(disks.get('grown').size, 3 * MiB);
      await assert.rejects(disks.resize('grown', 2 * MiB), isNamed('invalidParameter'));
      await disks.resize('grown', 2 * MiB, { shrink: true });
      assert.equal(disks.get('grown').size, 2 * MiB);
      await disks.remove('grown');
    });

    test('a linked clone stands on its source, which cannot be removed before it', async () => {
      await disks.create('source', { size: MiB, format: 'qcow2' });
      const clone = await disks.clone('clone', 'source', { linked: true });
      assert.equal(clone.base, 'source');
      assert.ok(disks.files('clone').chain.length > 0);
      assert.ok(!disks.files('clone').chain.includes(disks.files('source').path));
      await assert.rejects(
        disks.remove('source'),
        (error) => isConflict(error) && error instanceof Error && /clone/.test(error.message),
      );
      await disks.remove('clone');
      await disks.remove('source');
    });

    test('a full clone stands alone', async () => {
      await disks.create('source', { size: MiB, format: 'qcow2' });
      const copy = await disks.clone('copy', 'source', { linked: false });
      assert.equal(copy.base, undefined);
      await disks.remove('source');
      assert.equal(disks.get('copy').size, MiB);
      await disks.remove('copy');
    });

    test('snapshots are taken, listed, gone back to and removed', async () => {
      await disks.create('snap', { size: MiB, format: 'qcow2' });
      await disks.takeSnapshot('snap', 'first');
      await disks.takeSnapshot('snap', 'second');
      assert.deepEqual(disks.get('snap').snapshots, ['first', 'second']);
      await assert.rejects(disks.takeSnapshot('snap', 'first'), isConflict);
      await disks.revertSnapshot('snap', 'first');
      await disks.removeSnapshot('snap', 'first');
      assert.deepEqual(disks.get('snap').snapshots, ['second']);
      await assert.rejects(disks.revertSnapshot('snap', 'first'), isNamed('noSuchDiskSnapshot'));
      await disks.remove('snap');
    });

    test('a snapshot that lies in what a clone stands on can be gone back to and removed', async () => {
      await disks.create('source', { size: MiB, format: 'qcow2' });
      await disks.takeSnapshot('source', 'before');
      await disks.clone('clone', 'source', { linked: true });
      await disks.takeSnapshot('source', 'after');
      assert.deepEqual(disks.get('source').snapshots.toSorted(), ['after', 'before']);
      assert.deepEqual(disks.get('clone').snapshots, []);
      await disks.revertSnapshot('source', 'before');
      assert.deepEqual(disks.get('source').snapshots.toSorted(), ['after', 'before']);
      await disks.removeSnapshot('source', 'before');
      assert.deepEqual(disks.get('source').snapshots, ['after']);
      await disks.remove('clone');
      await disks.remove('source');
    });

    test('the next daemon finds disks and claims, and drops what no machine has been told of', async () => {
      await disks.create('known', { size: MiB, format: 'qcow2' });
      await disks.create('orphan', { size: MiB, format: 'qcow2' });
      await disks.create('kept', { size: MiB, format: 'qcow2' });
      disks.claim('known', 'a');
      disks.claim('kept', 'a');
      disks.release('kept', 'a');
      disks.claim('kept', 'gone');
      disks = under.reopen();
      await disks.recover(new Set(['known']));
      assert.deepEqual(
        disks.list().map(({ id, owner }) => [id, owner]),
        [
          ['kept', undefined],
          ['known', 'a'],
        ],
      );
      disks = under.reopen();
      await disks.recover(new Set());
      assert.deepEqual(
        disks.list().map(({ id, owner }) => [id, owner]),
        [
          ['kept', undefined],
          ['known', undefined],
        ],
      );
      for (const { id } of disks.list()) await disks.remove(id);
    });
  });
}

function isNamed(code: 'invalidName' | 'invalidParameter' | 'noSuchDiskSnapshot') {
  return (error: unknown): boolean => isIsleError(error, code);
}

function isConflict(error: unknown): boolean {
  return isIsleError(error, 'conflict');
}

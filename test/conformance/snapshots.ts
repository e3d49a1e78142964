import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chown, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isIsleError } from '../../src/lib/errors.ts';
import type { Snapshots } from '../../src/storage/snapshots.ts';

/** What an implementation gives the suite. */
export interface SnapshotsUnderTest {
  snapshots: Snapshots;
  dispose(): Promise<void>;
}

/** Holds an implementation to what the Snapshots contract promises of layers; of roots, when it has any (`roots`). */
export function snapshotsConformance(
  name: string,
  roots: boolean,
  make: () => Promise<SnapshotsUnderTest>,
): void {
  describe(`${name} keeps the Snapshots contract`, { concurrency: false }, () => {
    let under: SnapshotsUnderTest;
    let snapshots: Snapshots;
    before(async () => {
      under = await make();
      snapshots = under.snapshots;
    });
    after(() => under.dispose());

    async function layer(digit: string, parent?: string): Promise<string> {
      const chainId = chain(digit);
      const { path } = await snapshots.beginLayer(chainId);
      await writeFile(join(path, `file-${digit}`), digit);
      await snapshots.commitLayer(chainId, { parent, diffId: chainId, size: 10 });
      return chainId;
    }

    test('a layer is visible once it was committed, and abandoned without a trace', async () => {
      const begun = await snapshots.beginLayer(chain('1'));
      assert.ok(existsSync(begun.path));
      assert.equal(snapshots.hasLayer(chain('1')), false);
      await begun.abandon();
      assert.equal(existsSync(begun.path), false);
      await layer('1');
      assert.equal(snapshots.hasLayer(chain('1')), true);
      assert.equal(snapshots.layerSize(chain('1')), 10);
    });

    test('a layer that something stands on is not removed', async () => {
      const below = await layer('2');
      const above = await layer('3', below);
      const usedOf = (chainId: string): boolean | undefined =>
        snapshots.layers().find((one) => one.chainId === chainId)?.used;
      assert.deepEqual([usedOf(below), usedOf(above)], [true, false]);
      await assert.rejects(snapshots.removeLayer(below), (error) => isIsleError(error, 'conflict'));
      await snapshots.removeLayer(above);
      await snapshots.removeLayer(below);
      assert.equal(usedOf(below), undefined);
    });

    test('a layer whose parent is missing is refused', async () => {
      const { abandon } = await snapshots.beginLayer(chain('4'));
      await assert.rejects(
        snapshots.commitLayer(chain('4'), { parent: chain('f'), diffId: chain('4'), size: 1 }),
      );
      assert.equal(snapshots.hasLayer(chain('4')), false);
      await abandon();
    });

    if (!roots) return;

    test('a root is prepared, mounted once, written, measured, compared, unmounted and removed', async () => {
      const below = await layer('5');
      await snapshots.prepare('root', below);
      assert.equal(snapshots.layers().find((one) => one.chainId === below)?.used, true);
      await assert.rejects(snapshots.removeLayer(below), (error) => isIsleError(error, 'conflict'));
      const path = await snapshots.mount('root');
      assert.equal(await snapshots.mount('root'), path);
      assert.ok(existsSync(join(path, 'file-5')));
      await writeFile(join(path, 'new'), 'x');
      assert.deepEqual(await snapshots.changes('root'), [{ path: '/new', kind: 1 }]);
      assert.equal((await snapshots.usage('root')).inodes, 1);
      const tar = Buffer.concat(await (await snapshots.layerTar('root')).toArray());
      assert.ok(tar.includes('new'));
      await snapshots.unmount('root');
      await snapshots.unmount('root');
      assert.ok(existsSync(join(await snapshots.mount('root'), 'new')));
      await snapshots.remove('root');
      await snapshots.remove('root');
      await assert.rejects(snapshots.mount('root'), (error) => isIsleError(error, 'noSuchSnapshot'));
      await snapshots.removeLayer(below);
    });

    test('a root with an id map shows shifted owners and keeps plain ones on the disk', async () => {
      const map = { hostId: 1_900_000_000, size: 65_536 };
      let top: string | undefined;
      const chains: string[] = [];
      for (let i = 0; i < 70; i++) {
        const chainId = `sha256:${i.toString(16).padStart(64, 'b')}`;
        const { path } = await snapshots.beginLayer(chainId);
        await writeFile(join(path, `file-${i}`), '');
        await chown(join(path, `file-${i}`), i, i + 1);
        await snapshots.commitLayer(chainId, { parent: top, diffId: chainId, size: 1 });
        chains.push((top = chainId));
      }
      await snapshots.prepare('mapped', top);
      const root = await snapshots.mount('mapped', { idMap: map });
      assert.equal(await snapshots.mount('mapped', { idMap: map }), root);
      const { uid, gid } = await stat(join(root, 'file-69'));
      assert.deepEqual([uid - map.hostId, gid - map.hostId], [69, 70]);
      assert.equal((await stat(root)).uid, map.hostId);
      await assert.rejects(snapshots.mount('mapped'), (error) => isIsleError(error, 'conflict'));
      await chown(join(root, 'file-3'), map.hostId + 1000, map.hostId + 1000);
      // Whoever is not of the namespace owns nothing in it.
      await assert.rejects(writeFile(join(root, 'new'), ''), { code: 'EOVERFLOW' });
      await rm(join(root, 'file-5'));
      assert.deepEqual(await snapshots.changes('mapped'), [
        { path: '/file-3', kind: 0 },
        { path: '/file-5', kind: 2 },
      ]);
      await snapshots.unmount('mapped');
      const plain = await snapshots.mount('mapped');
      assert.equal((await stat(join(plain, 'file-3'))).uid, 1000);
      assert.equal(existsSync(join(plain, 'file-5')), false);
      assert.equal((await stat(await snapshots.mount('mapped', { idMap: map }))).uid, map.hostId);
      await snapshots.recover(new Set(['mapped', 'known']));
      assert.equal(await snapshots.mount('mapped', { idMap: map }), root);
      await snapshots.remove('mapped');
      for (const chainId of chains.reverse()) await snapshots.removeLayer(chainId);
    });

    test('a root over nothing can have an id map', async () => {
      const map = { hostId: 1_900_000_000, size: 65_536 };
      await snapshots.prepare('bare', undefined);
      assert.equal((await stat(await snapshots.mount('bare', { idMap: map }))).uid, map.hostId);
      await snapshots.remove('bare');
    });

    test('what was written is saved, restored, cloned and dropped again', async () => {
      const below = await layer('6');
      await snapshots.prepare('saved', below);
      const path = await snapshots.mount('saved');
      await writeFile(join(path, 'file'), 'before');
      await rm(join(path, 'file-6'));
      let around = 0;
      const quietly = async (copy: () => Promise<void>): Promise<void> => {
        await copy();
        around++;
      };
      const saved = await snapshots.save('saved', 'one', { comment: 'first', quietly });
      assert.deepEqual([saved.name, saved.comment, saved.inodes, around], ['one', 'first', 2, 1]);
      assert.ok(saved.bytes >= 0 && Date.parse(saved.createdAt) > 0);
      assert.deepEqual(snapshots.saved('saved'), [saved]);
      await assert.rejects(snapshots.save('saved', 'one'), (error) => isIsleError(error, 'savedNameInUse'));
      await assert.rejects(snapshots.save('saved', '../x'), (error) =>
        isIsleError(error, 'invalidParameter'),
      );
      await assert.rejects(snapshots.restore('saved', 'one'), (error) => isIsleError(error, 'conflict'));
      await writeFile(join(path, 'file'), 'after');
      await writeFile(join(path, 'file-6'), 'back');
      await snapshots.cloneFrom({ id: 'saved', saved: 'one' }, 'clone-then');
      await snapshots.cloneFrom({ id: 'saved' }, 'clone-now');
      await snapshots.unmount('saved');
      for (let i = 0; i < 2; i++) await snapshots.restore('saved', 'one');
      const again = await snapshots.mount('saved');
      assert.equal(await readFile(join(again, 'file'), 'utf8'), 'before');
      assert.equal(existsSync(join(again, 'file-6')), false);
      await snapshots.removeSaved('saved', 'one');
      assert.deepEqual(snapshots.saved('saved'), []);
      for (const gone of [snapshots.removeSaved('saved', 'one'), snapshots.restore('saved', 'one')])
        await assert.rejects(gone, (error) => isIsleError(error, 'noSuchSaved', 'conflict'));
      await snapshots.remove('saved');
      const then = await snapshots.mount('clone-then');
      const now = await snapshots.mount('clone-now');
      assert.deepEqual(
        [await readFile(join(then, 'file'), 'utf8'), existsSync(join(then, 'file-6'))],
        ['before', false],
      );
      assert.deepEqual(
        [await readFile(join(now, 'file'), 'utf8'), await readFile(join(now, 'file-6'), 'utf8')],
        ['after', 'back'],
      );
      await assert.rejects(snapshots.removeLayer(below), (error) => isIsleError(error, 'conflict'));
      await snapshots.remove('clone-then');
      await snapshots.remove('clone-now');
      await snapshots.removeLayer(below);
    });

    test('of two saves by one name at once one wins, and others go on beside it', async () => {
      await snapshots.prepare('busy', undefined);
      const names = ['a', 'a', 'b', 'c'];
      const results = await Promise.allSettled(names.map((name) => snapshots.save('busy', name)));
      assert.deepEqual(
        results.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
      );
      assert.deepEqual(
        snapshots.saved('busy').map(({ name }) => name),
        ['a', 'b', 'c'],
      );
      for (let i = 0; i < 2; i++) await snapshots.recover(new Set(['busy']));
      assert.equal(snapshots.saved('busy').length, 3);
      await snapshots.remove('busy');
    });

    test('a save whose quiet moment fails leaves nothing', async () => {
      await snapshots.prepare('loud', undefined);
      const quietly = async (copy: () => Promise<void>): Promise<void> => {
        await copy();
        throw new Error('no quiet moment');
      };
      await assert.rejects(snapshots.save('loud', 'a', { quietly }), /no quiet moment/);
      assert.deepEqual(snapshots.saved('loud'), []);
      await snapshots.save('loud', 'a');
      await assert.rejects(snapshots.cloneFrom({ id: 'loud' }, 'louder', { quietly }), /no quiet moment/);
      await assert.rejects(snapshots.mount('louder'), (error) => isIsleError(error, 'noSuchSnapshot'));
      await snapshots.cloneFrom({ id: 'loud' }, 'louder');
      for (const id of ['loud', 'louder']) await snapshots.remove(id);
    });

    test('recovery drops the roots that nobody knows and keeps the others', async () => {
      for (const id of ['known', 'unknown']) {
        await snapshots.prepare(id, undefined);
        await writeFile(join(await snapshots.mount(id), 'file'), id);
      }
      for (let i = 0; i < 2; i++) await snapshots.recover(new Set(['known']));
      assert.ok(existsSync(join(await snapshots.mount('known'), 'file')));
      await assert.rejects(snapshots.mount('unknown'));
      await snapshots.recover(new Set());
      await snapshots.settled();
    });
  });
}

function chain(digit: string): string {
  return `sha256:${digit.repeat(64)}`;
}

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
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

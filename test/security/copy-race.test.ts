import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import type { IdMap } from '../../src/engine/runtime.ts';
import { bindMount, unmount } from '../../src/host/mount.ts';
import { closeFd } from '../../src/host/paths.ts';
import { usernsFdOf } from '../../src/host/user-namespace.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createContainerFiles } from '../../src/storage/archive.ts';
import { createStorageWorkers } from '../../src/storage/storage-workers.ts';
import { createVolumeFiles } from '../../src/storage/volumes.ts';
import { makeCanary } from '../fixtures/canary.ts';
import { archive, directory, link, member } from '../fixtures/hostile-tar.ts';

/** CVE-2018-15664: `docker cp` followed a symlink that the container put in place between the check and the use. */
for (const idMap of [undefined, { hostId: 1_900_000_000, size: 65_536 }])
  test(`copies that race with a container swapping symlinks neither read nor change the host${idMap ? ', in a user namespace' : ''}`, async (t) =>
    await race(t, idMap));

async function race(t: TestContext, idMap: IdMap | undefined): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'isle-race-'));
  const canary = makeCanary(join(base, 'host'));
  const root = join(base, 'root');
  mkdirSync(join(root, 'dir/sub'), { recursive: true });
  writeFileSync(join(root, 'dir/secret'), 'of the container');
  writeFileSync(join(root, 'file'), 'of the container');
  symlinkSync(canary.path, join(root, '.link'));
  symlinkSync(join(canary.path, 'secret'), join(root, '.file-link'));
  const untouched = canary.state();
  const workers = createStorageWorkers();
  const files = createContainerFiles({ runRoot: join(base, 'run'), workers, log: silentLog() });
  const volumes = createVolumeFiles({ dataRoot: join(base, 'data'), workers, log: silentLog() });
  const swapper = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      join(import.meta.dirname, '../fixtures/symlink-swapper.ts'),
      root,
    ],
    { stdio: 'inherit' },
  );
  t.after(() => void swapper.kill('SIGKILL'));
  const seen = idMap ? await mapped(root, idMap) : root;
  t.after(async () => {
    if (idMap) await unmount(seen, { detach: true });
    await workers.close();
    rmSync(base, { recursive: true, force: true });
  });
  const place = { container: 'box', root: seen, readOnly: false, idMap, mounts: [] };
  const options = { noOverwriteDirNonDir: false, copyUidGid: false };
  const upload = archive(
    directory('dir/'),
    member('dir/secret', {}, 'overwritten'),
    member('dir/directory/file', {}, 'overwritten'),
    member('file', {}, 'overwritten'),
    link('dir/linked', 'dir/secret'),
  );
  let reads = 0;
  let writes = 0;
  const until = Date.now() + 5000;
  for (let i = 0; Date.now() < until; i++) {
    trap(root, 'dir', '.link', canary.path);
    trap(root, 'file', '.file-link', join(canary.path, 'secret'));
    const path = ['/dir', '/dir/secret', '/file', '/dir/', '/'][i % 5]!;
    const read = await outcome(async (): Promise<Buffer> => {
      const { tar } = await files.read(place, path);
      return Buffer.concat(await tar.toArray());
    });
    if (read instanceof Buffer) {
      reads++;
      assert.ok(!read.includes('the secret of the host'), `${path} gave the host's secret`);
    }
    const target = i % 2 === 0 ? '/' : '/dir';
    const written = await outcome(() => files.write(place, target, Readable.from([upload]), options));
    if (written !== undefined) writes++;
    await outcome(() => files.stat(place, '/dir/secret'));
    await volumes.create(`v${i}`);
    await outcome(() => volumes.fill(`v${i}`, root, '/dir'));
    const leaked = spawnSync('grep', [
      '-rl',
      'the secret of the host',
      volumes.path(`v${i}`),
    ]).stdout.toString();
    assert.equal(leaked, '');
    await volumes.remove(`v${i}`);
    assert.equal(canary.state(), untouched, `after ${i} rounds`);
  }
  t.diagnostic(`${reads} reads and ${writes} writes got through`);
  assert.ok(reads > 5 && writes > 3, `the race was not run: ${reads} reads, ${writes} writes`);
}

/** The root as a user namespace has it. */
async function mapped(root: string, idMap: IdMap): Promise<string> {
  const target = `${root}-mapped`;
  mkdirSync(target);
  const userns = await usernsFdOf(idMap);
  await bindMount(root, target, { idmap: userns });
  closeFd(userns);
  return target;
}

/** A copy replaces a symlink that stands where a directory shall be: then the container lays it again. */
function trap(root: string, name: string, other: string, target: string): void {
  const isLink = (path: string): boolean =>
    lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  // Twice, because the two swap places while they are looked at.
  for (let i = 0; i < 2; i++) if (isLink(join(root, name)) || isLink(join(root, other))) return;
  try {
    renameSync(join(root, other), join(root, '..', `away-${randomBytes(8).toString('hex')}`));
    symlinkSync(target, join(root, other));
  } catch {
    // The swapper was faster: the next round lays it.
  }
}

/** A copy may fail because of what the container does: then it failed, that is all. */
async function outcome<T>(work: () => Promise<T>): Promise<T | true | undefined> {
  try {
    return (await work()) ?? true;
  } catch {
    return undefined;
  }
}

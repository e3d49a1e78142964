import assert from 'node:assert/strict';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  bindMount,
  mappedOverlayMount,
  mount,
  mountTable,
  MS,
  overlayMount,
  setPropagation,
  setReadOnly,
  unmount,
} from '../../src/host/mount.ts';
import { usernsFd } from '../../src/host/user-namespace.ts';
import { closeFd } from '../../src/host/paths.ts';

let root: string;
before(async () => {
  root = mkdtempSync(join(tmpdir(), 'isle-mount-'));
  // Nothing made in here leaves this tree, and one detach takes all of it away.
  await mount('tmpfs', root, 'tmpfs', 0, 'size=16m');
  await setPropagation(root, 'private');
});
after(async () => {
  await unmount(root, { detach: true });
  rmSync(root, { recursive: true });
});

function directory(...names: string[]): string {
  const path = join(root, ...names);
  mkdirSync(path, { recursive: true });
  return path;
}

async function entryOf(target: string) {
  return (await mountTable()).filter((entry) => entry.target === target).at(-1);
}

test('an overlay merges its layers, top first, and writes go to the upper one', async () => {
  const lowers = ['b', 'a'].map((name) => directory('ov', name));
  writeFileSync(join(lowers[0]!, 'file'), 'top');
  writeFileSync(join(lowers[1]!, 'file'), 'bottom');
  writeFileSync(join(lowers[1]!, 'only'), 'below');
  const target = directory('ov', 'merged');
  await overlayMount(target, { lowers, upper: directory('ov', 'upper'), work: directory('ov', 'work') });
  assert.equal(readFileSync(join(target, 'file'), 'utf8'), 'top');
  assert.equal(readFileSync(join(target, 'only'), 'utf8'), 'below');
  writeFileSync(join(target, 'new'), 'x');
  assert.equal(readFileSync(join(root, 'ov/upper/new'), 'utf8'), 'x');
  assert.equal((await entryOf(target))?.type, 'overlay');
  await unmount(target);
  assert.equal(await entryOf(target), undefined);
});

test('300 layers with long paths exceed no page', async () => {
  const lowers = Array.from({ length: 300 }, (_, i) => directory('deep', `${i}`.padStart(64, '0'), 'diff'));
  writeFileSync(join(lowers[299]!, 'bottom'), 'found');
  const target = directory('deep-merged');
  const [upper, work] = [directory('deep-upper'), directory('deep-work')];
  await overlayMount(target, { lowers, upper, work, options: ['metacopy=off', 'userxattr'] });
  assert.equal(readFileSync(join(target, 'bottom'), 'utf8'), 'found');
  await unmount(target);
});

test('paths with commas, colons, backslashes and spaces are taken as they are', async () => {
  const odd = 'a:b,c\\d e';
  for (const count of [1, 60]) {
    const lowers = Array.from({ length: count }, (_, i) => directory('odd', `${odd}${i}${'x'.repeat(60)}`));
    writeFileSync(join(lowers[0]!, 'file'), 'here');
    const target = directory('odd', `merged ${count}`);
    const [upper, work] = [directory('odd', `${odd} upper${count}`), directory('odd', `${odd} work${count}`)];
    await overlayMount(target, { lowers, upper, work });
    assert.equal(readFileSync(join(target, 'file'), 'utf8'), 'here');
    assert.equal((await entryOf(target))?.target, target);
    await unmount(target);
  }
});

test('a failed mount names its paths and what the kernel said', async () => {
  await assert.rejects(mount('none', join(root, 'absent'), 'tmpfs'), (error: NodeJS.ErrnoException) => {
    assert.equal(error.code, 'ENOENT');
    assert.match(error.message, /mount '.*\/absent'/);
    return true;
  });
  const target = directory('bad');
  const lowers = Array.from({ length: 80 }, (_, i) => `/absent/${'y'.repeat(60)}${i}`);
  await assert.rejects(overlayMount(target, { lowers }), { code: 'ENOENT' });
  await assert.rejects(mount('a\0b', target, 'tmpfs'), { code: 'ERR_INVALID_ARG_VALUE' });
});

test('a recursive read-only bind covers the mounts below it', async () => {
  const source = directory('ro', 'source');
  const below = directory('ro', 'source', 'below');
  await mount('tmpfs', below, 'tmpfs');
  const plain = directory('ro', 'plain');
  const all = directory('ro', 'all');
  await bindMount(source, plain, { readOnly: true });
  await bindMount(source, all, { recursiveReadOnly: true, nosuid: true, propagation: 'private' });
  writeFileSync(join(plain, 'below', 'file'), 'writable');
  assert.throws(() => writeFileSync(join(plain, 'file'), ''), { code: 'EROFS' });
  assert.throws(() => writeFileSync(join(all, 'below', 'file'), ''), { code: 'EROFS' });
  assert.ok((await entryOf(all))?.options.includes('nosuid'));
  await setReadOnly(plain, false);
  writeFileSync(join(plain, 'file'), '');
});

test('a non-recursive bind of a file and of a directory', async () => {
  const source = directory('plain', 'source');
  await mount('tmpfs', directory('plain', 'source', 'below'), 'tmpfs');
  writeFileSync(join(source, 'below', 'file'), 'x');
  const target = directory('plain', 'target');
  await bindMount(source, target, { recursive: false });
  assert.throws(() => statSync(join(target, 'below', 'file')), { code: 'ENOENT' });
  writeFileSync(join(root, 'plain', 'file'), '');
  await bindMount(join(source, 'below', 'file'), join(root, 'plain', 'file'));
  assert.equal(readFileSync(join(root, 'plain', 'file'), 'utf8'), 'x');
});

test('an idmapped bind translates owners, and the maps are checked by the kernel', async () => {
  // On the disk: tmpfs takes part only from Linux 6.3 on.
  const source = mkdtempSync(join(tmpdir(), 'isle-idmap-'));
  writeFileSync(join(source, 'file'), '');
  const target = directory('idmap', 'target');
  const fd = await usernsFd(
    [{ container: 0, host: 100_000, size: 1000 }],
    [{ container: 0, host: 200_000, size: 1000 }],
  );
  await bindMount(source, target, { idmap: fd });
  closeFd(fd);
  const { uid, gid } = statSync(join(target, 'file'));
  assert.deepEqual([uid, gid], [100_000, 200_000]);
  await assert.rejects(usernsFd([{ container: 0, host: 0, size: 0 }], []), { code: 'EINVAL' });
  await unmount(target);
  rmSync(source, { recursive: true });
});

test('propagation is seen in the mount table', async () => {
  const target = directory('propagation');
  await mount('tmpfs', target, 'tmpfs', MS.nosuid | MS.nodev);
  await setPropagation(target, 'shared');
  assert.match((await entryOf(target))!.propagation.join(), /^shared:\d+$/);
  await setPropagation(target, 'private', { recursive: true });
  assert.deepEqual((await entryOf(target))!.propagation, []);
  await setPropagation(target, 'unbindable');
  assert.deepEqual((await entryOf(target))!.propagation, ['unbindable']);
});

test('unmount tells busy from gone, and detaches when asked', async () => {
  const target = directory('busy');
  await mount('tmpfs', target, 'tmpfs');
  const fd = openSync(join(target, 'file'), 'w');
  await assert.rejects(unmount(target), { code: 'EBUSY' });
  await unmount(target, { detach: true });
  closeSync(fd);
  await assert.rejects(unmount(target), { code: 'EINVAL' });
});

test('an overlay over idmapped layers needs no attached ones, and works with them where the kernel wants that', async () => {
  const base = mkdtempSync(join(tmpdir(), 'isle-mapped-'));
  const [layers, writable, target] = ['layers', 'writable', 'target'].map((name) => join(base, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [
    join(layers, 'a'),
    join(layers, 'b'),
    join(writable, 'upper'),
    join(writable, 'work'),
    target,
  ])
    mkdirSync(path, { recursive: true });
  writeFileSync(join(layers, 'a/file'), 'x');
  const own = async () => (await mountTable()).filter((entry) => entry.target.startsWith(base)).length;
  for (const apart of [false, true]) {
    const map = { hostId: 1_900_000_000, size: 65_536 };
    await mappedOverlayMount(target, { layers, lowers: ['b', 'a'], writable, map, apart });
    assert.equal(statSync(join(target, 'file')).uid, map.hostId);
    assert.equal(await own(), 1, 'nothing but the overlay is mounted');
    await unmount(target);
    await assert.rejects(mappedOverlayMount(target, { layers, lowers: ['none'], writable, map, apart }), {
      code: 'ENOENT',
    });
  }
  assert.equal(await own(), 0);
  rmSync(base, { recursive: true });
});

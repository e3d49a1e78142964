import assert from 'node:assert/strict';
import { existsSync, lstatSync } from 'node:fs';
import {
  chown,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { mountTable } from '../host/mount.ts';
import { openTree, tree, xattrsOf } from '../host/tree.ts';
import { silentLog } from '../lib/log.ts';
import { createStorageWorkers } from './storage-workers.ts';
import { createVolumeFiles, type VolumeFiles } from './volumes.ts';

async function setUp(t: TestContext): Promise<{ base: string; volumes: VolumeFiles }> {
  const base = await mkdtemp(join(tmpdir(), 'isle-vol-'));
  const workers = createStorageWorkers();
  t.after(async () => {
    await workers.close();
    assert.deepEqual(
      (await mountTable()).filter(({ target }) => target.startsWith(base)),
      [],
    );
    await rm(base, { recursive: true, force: true });
  });
  return { base, volumes: createVolumeFiles({ dataRoot: join(base, 'data'), workers, log: silentLog() }) };
}

test('a volume is a directory that comes and goes', async (t) => {
  const { volumes } = await setUp(t);
  const path = await volumes.create('one');
  assert.equal(await volumes.create('one'), path);
  await writeFile(join(path, 'file'), 'x'.repeat(5000));
  assert.equal(await volumes.usage('one'), 8192);
  assert.deepEqual(await volumes.list(), ['one']);
  await volumes.remove('one');
  await volumes.remove('one');
  assert.equal(existsSync(path), false);
  assert.deepEqual(await volumes.list(), []);
  assert.throws(() => volumes.path('../x'), /Invalid volume name/);
});

test('an empty volume is filled with what the image has there, a used one is left alone', async (t) => {
  const { base, volumes } = await setUp(t);
  const image = join(base, 'image/srv/data');
  await mkdir(join(image, 'sub'), { recursive: true });
  await chown(image, 12, 34);
  await writeFile(join(image, 'sub/file'), 'content', { mode: 0o4755 });
  await link(join(image, 'sub/file'), join(image, 'twin'));
  await symlink('/etc/passwd', join(image, 'link'));
  await writeFile(join(image, 'holes'), '');
  await truncate(join(image, 'holes'), 50_000_000);
  const fd = openTree(join(image, 'sub'));
  tree.treeSetXattr(fd, 'user.bytes', Buffer.from([0, 255, 10]));
  tree.treeClose(fd);
  const path = await volumes.create('one');
  await volumes.fill('one', join(base, 'image'), '/srv/data');
  const { uid, gid } = lstatSync(path);
  assert.deepEqual([uid, gid], [12, 34]);
  assert.equal(await readFile(join(path, 'sub/file'), 'utf8'), 'content');
  assert.equal(lstatSync(join(path, 'twin')).nlink, 2);
  assert.ok(lstatSync(join(path, 'link')).isSymbolicLink());
  assert.equal(lstatSync(join(path, 'holes')).size, 50_000_000);
  assert.equal(lstatSync(join(path, 'holes')).blocks, 0);
  const copied = openTree(join(path, 'sub'));
  assert.deepEqual(xattrsOf(copied, 'sub').get('user.bytes'), Buffer.from([0, 255, 10]));
  tree.treeClose(copied);
  await rm(join(path, 'sub'), { recursive: true });
  await volumes.fill('one', join(base, 'image'), '/srv/data');
  assert.equal(existsSync(join(path, 'sub')), false);
});

test('filling never follows the image out of its root', async (t) => {
  const { base, volumes } = await setUp(t);
  await mkdir(join(base, 'image'));
  await mkdir(join(base, 'secret'));
  await writeFile(join(base, 'secret/canary'), 'x');
  await symlink('../../../../../../../..' + join(base, 'secret'), join(base, 'image/up'));
  await symlink(join(base, 'secret'), join(base, 'image/absolute'));
  for (const target of ['/up', '/absolute', '/missing', '/../../../../secret']) {
    const path = await volumes.create('one');
    await volumes.fill('one', join(base, 'image'), target);
    assert.deepEqual(await readdir(path), [], target);
  }
});

test('options of the local driver are mounted once and taken down, and bad ones refused', async (t) => {
  const { base, volumes } = await setUp(t);
  const tmpfs = { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,mode=0700,nosuid' };
  const path = await volumes.create('memory', tmpfs);
  await volumes.mount('memory', tmpfs);
  await volumes.mount('memory', tmpfs);
  const mounts = (await mountTable()).filter(({ target }) => target === path);
  assert.deepEqual(
    mounts.map(({ type }) => type),
    ['tmpfs'],
  );
  assert.ok(mounts[0]!.options.includes('nosuid'));
  await volumes.unmount('memory');
  await mkdir(join(base, 'host'));
  await writeFile(join(base, 'host/file'), 'mine');
  const bind = { type: 'none', o: 'bind,ro', device: join(base, 'host') };
  const bound = await volumes.create('bound', bind);
  await volumes.mount('bound', bind);
  assert.deepEqual(await readdir(bound), ['file']);
  await assert.rejects(writeFile(join(bound, 'x'), ''), /EROFS/);
  await volumes.remove('bound');
  assert.deepEqual(
    await readdir(join(base, 'host')),
    ['file'],
    'what was mounted is not deleted with the volume',
  );
  const refused: [Record<string, string>, RegExp][] = [
    [{ size: '1g' }, /option "size" is not known/],
    [{ type: 'proc', device: 'proc' }, /type "proc" is not supported/],
    [{ type: 'tmpfs' }, /needs a device/],
    [{ type: 'none', o: 'bind', device: 'relative' }, /must be an absolute path/],
    [{ type: 'tmpfs', device: 'a\nb' }, /control characters/],
  ];
  for (const [options, why] of refused) await assert.rejects(volumes.create('bad', options), why);
  assert.deepEqual(await volumes.list(), ['memory']);
  const missing = { type: 'none', o: 'bind', device: join(base, 'nothing') };
  await assert.rejects(volumes.mount('memory', missing), /failed to mount local volume memory.*ENOENT/);
});

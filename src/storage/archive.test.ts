import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { mountTable } from '../host/mount.ts';
import { silentLog } from '../lib/log.ts';
import { createContainerFiles, type ContainerFiles } from './archive.ts';
import type { ContainerRoot } from './root-view.ts';
import { createStorageWorkers } from './storage-workers.ts';

interface Bench {
  base: string;
  files: ContainerFiles;
  root: ContainerRoot;
  /** Names in the tar of `path`. */
  names: (path: string) => Promise<string[]>;
  /** A tar of a directory on the host, as the client sends it. */
  tarOf: (directory: string, ...members: string[]) => Readable;
}

const plain = { noOverwriteDirNonDir: false, copyUidGid: false };

async function setUp(t: TestContext): Promise<Bench> {
  const base = await mkdtemp(join(tmpdir(), 'isle-cp-'));
  const workers = createStorageWorkers();
  const files = createContainerFiles({ runRoot: join(base, 'run'), workers, log: silentLog() });
  const root = { container: 'box', root: join(base, 'root'), readOnly: false, mounts: [] };
  await mkdir(join(base, 'root/etc'), { recursive: true });
  await mkdir(join(base, 'root/data/sub'), { recursive: true });
  await writeFile(join(base, 'root/etc/passwd'), 'root:x:0:0::/:/bin/sh\napp:x:1234:5678::/:/bin/sh\n');
  await writeFile(join(base, 'root/data/file'), 'content');
  await symlink('/etc', join(base, 'root/link'));
  await symlink('/nowhere/x', join(base, 'root/broken'));
  t.after(async () => {
    await workers.close();
    assert.deepEqual(
      (await mountTable()).filter(({ target }) => target.startsWith(base)),
      [],
    );
    await rm(base, { recursive: true, force: true });
  });
  return {
    base,
    files,
    root,
    names: async (path) => listTar((await files.read(root, path)).tar),
    tarOf: (directory, ...members) =>
      Readable.from([
        execFileSync('tar', ['-C', directory, '-c', ...(members.length > 0 ? members : ['.'])]),
      ]),
  };
}

async function listTar(tar: Readable): Promise<string[]> {
  const input = Buffer.concat(await tar.toArray());
  return execFileSync('tar', ['-tPf', '-'], { input, encoding: 'utf8' }).trim().split('\n');
}

test('stat tells name, size, Go mode bits and where a symlink leads inside the root', async (t) => {
  const { files, root, base } = await setUp(t);
  await chmod(join(base, 'root/data'), 0o1777);
  const file = await files.stat(root, '/data/file');
  assert.deepEqual([file.name, file.size, file.mode], ['file', 7, 0o644]);
  assert.match(file.mtime, /^20\d\d-.*Z$/);
  const directory = await files.stat(root, '/data');
  assert.equal(directory.mode, 2 ** 31 + 2 ** 20 + 0o777);
  const link = await files.stat(root, '/link');
  assert.deepEqual([link.mode, link.linkTarget], [2 ** 27 + 0o777, '/etc']);
  assert.equal((await files.stat(root, '/link/')).mode, 2 ** 31 + 0o755);
  assert.equal((await files.stat(root, '/broken')).linkTarget, '/nowhere/x');
  assert.equal((await files.stat(root, '/../../data/file')).size, 7);
  await assert.rejects(files.stat(root, '/nothing'), /Could not find the file \/nothing in container box/);
});

test('what is read is named after the last part of its path, as docker cp expects', async (t) => {
  const { names } = await setUp(t);
  assert.deepEqual(await names('/data'), ['data/', 'data/file', 'data/sub/']);
  assert.deepEqual(await names('/data/'), ['data/', 'data/file', 'data/sub/']);
  assert.deepEqual(await names('/data/.'), ['./', './file', './sub/']);
  assert.deepEqual(await names('/data/file'), ['file']);
  assert.deepEqual(await names('/link'), ['link']);
  assert.deepEqual(await names('/link/'), ['link/', 'link/passwd']);
  assert.deepEqual((await names('/')).slice(0, 2), ['/', '/broken']);
});

test('writing follows a final symlink inside the root only, and takes compressed archives', async (t) => {
  const { files, root, base, tarOf } = await setUp(t);
  await mkdir(join(base, 'from'));
  await writeFile(join(base, 'from/new'), 'new');
  await symlink('/../../../../etc', join(base, 'root/up'));
  await files.write(root, '/link', tarOf(join(base, 'from'), 'new'), plain);
  assert.equal(await readFile(join(base, 'root/etc/new'), 'utf8'), 'new');
  const tar = Buffer.concat(await tarOf(join(base, 'from'), 'new').toArray());
  await files.write(root, '/up', Readable.from([gzipSync(tar)]), plain);
  assert.equal(existsSync('/etc/new'), false);
  await assert.rejects(files.write(root, '/data/file', Readable.from([tar]), plain), /is not a directory/);
  await assert.rejects(files.write(root, '/missing', Readable.from([tar]), plain), /Could not find the file/);
  await assert.rejects(
    files.write(root, '/', Readable.from([tar.subarray(0, 600)]), plain),
    /ends in the middle/,
  );
  await assert.rejects(
    files.write({ ...root, readOnly: true }, '/', Readable.from([tar]), plain),
    /read-only/,
  );
});

test('a directory is not replaced by a file, nor the other way round, when that was asked', async (t) => {
  const { files, root, base, tarOf } = await setUp(t);
  await mkdir(join(base, 'from/file'), { recursive: true });
  await writeFile(join(base, 'from/sub'), 'x');
  const keep = { ...plain, noOverwriteDirNonDir: true };
  const from = join(base, 'from');
  await assert.rejects(
    files.write(root, '/data', tarOf(from, 'sub'), keep),
    /cannot overwrite directory "sub" with/,
  );
  await assert.rejects(
    files.write(root, '/data', tarOf(from, 'file'), keep),
    /cannot overwrite non-directory "file"/,
  );
  await files.write(root, '/data', tarOf(from, 'sub', 'file'), plain);
  assert.ok(lstatSync(join(base, 'root/data/sub')).isFile());
  assert.ok(lstatSync(join(base, 'root/data/file')).isDirectory());
});

test('copied files belong to whom the archive says, or to the container’s user', async (t) => {
  const { files, root, base, tarOf } = await setUp(t);
  await mkdir(join(base, 'from'));
  await writeFile(join(base, 'from/a'), 'x');
  const owner = (): number[] => {
    const { uid, gid } = lstatSync(join(base, 'root/data/a'));
    return [uid, gid];
  };
  const copy = (user: string): Promise<void> =>
    files.write(root, '/data', tarOf(join(base, 'from'), 'a'), { ...plain, copyUidGid: true, user });
  await copy('app');
  assert.deepEqual(owner(), [1234, 5678]);
  await copy('77:88');
  assert.deepEqual(owner(), [77, 88]);
  await copy('');
  assert.deepEqual(owner(), [0, 0]);
  await assert.rejects(copy('nobody-here'), /"nobody-here" is not known in the container/);
});

test('volumes and binds are part of the root, read-only where they are, and nothing stays mounted', async (t) => {
  const { files, root, base, tarOf } = await setUp(t);
  await mkdir(join(base, 'volume/inner'), { recursive: true });
  await writeFile(join(base, 'volume/inner/v'), 'volume');
  await writeFile(join(base, 'one-file'), 'bound');
  const mounts = [
    { source: join(base, 'volume'), target: '/data', readOnly: true },
    { source: join(base, 'volume'), subpath: 'inner', target: '/not/there/yet', readOnly: false },
    { source: join(base, 'one-file'), target: '/etc/bound', readOnly: false },
    { source: join(base, 'gone'), target: '/gone', readOnly: false },
  ];
  const mounted = { ...root, mounts };
  const read = async (path: string): Promise<string[]> => listTar((await files.read(mounted, path)).tar);
  assert.deepEqual(await read('/data'), ['data/', 'data/inner/', 'data/inner/v']);
  assert.deepEqual(await read('/not/there/yet/.'), ['./', './v']);
  assert.equal((await files.stat(mounted, '/etc/bound')).size, 5);
  const tar = (): Readable => tarOf(base, 'one-file');
  await assert.rejects(files.write(mounted, '/data/inner', tar(), plain), /marked read-only/);
  await files.write(mounted, '/not/there/yet', tar(), plain);
  assert.deepEqual((await readdir(join(base, 'volume/inner'))).sort(), ['one-file', 'v']);
  await assert.rejects(files.write({ ...mounted, readOnly: true }, '/etc', tar(), plain), /marked read-only/);
  assert.deepEqual(await readdir(join(base, 'run/views')), []);
});

test('an abandoned read lets go of everything', async (t) => {
  const { files, root, base } = await setUp(t);
  await writeFile(join(base, 'root/data/big'), Buffer.alloc(30_000_000, 1));
  const mounts = [{ source: join(base, 'root/etc'), target: '/data/sub', readOnly: false }];
  const { tar } = await files.read({ ...root, mounts }, '/data');
  for await (const chunk of tar) {
    assert.ok(chunk.length > 0);
    break;
  }
  for (let i = 0; i < 100 && (await readdir(join(base, 'run/views'))).length > 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.deepEqual(await readdir(join(base, 'run/views')), []);
});

test('export is the whole root without a member for the root itself', async (t) => {
  const { files, root } = await setUp(t);
  assert.deepEqual(await listTar(await files.export(root.root)), [
    'broken',
    'data/',
    'data/file',
    'data/sub/',
    'etc/',
    'etc/passwd',
    'link',
  ]);
});

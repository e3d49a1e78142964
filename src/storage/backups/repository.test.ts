import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isIsleError } from '../../lib/errors.ts';
import { ThreadPool } from '../../lib/threads.ts';
import { workerFile } from '../../lib/worker-file.ts';
import { type BackupManifest, parseManifest, renderManifest } from './manifest.ts';
import { BackupRepository } from './repository.ts';

const workers = new ThreadPool({ file: workerFile(import.meta.url, './backup-worker.ts'), threads: 2 });
const root = mkdtempSync(join(tmpdir(), 'isle-repository-'));
after(async () => {
  await workers.close();
  rmSync(root, { recursive: true, force: true });
});

const machine = { id: 'ab'.repeat(32), name: 'web' };
const never = new AbortController().signal;

test('a backup appears when it is whole, and an increment stands on its parent', async () => {
  const { repository, full, increment } = await filled();
  const { backups, damaged } = await repository.list();
  assert.deepEqual(
    backups.map(({ id }) => id),
    [full.id, increment.id],
  );
  assert.deepEqual(damaged, []);
  assert.deepEqual(readdirSync(join(repository.path, machine.id)).sort(), [full.id, increment.id].sort());
  assert.equal((await repository.find('web')).id, increment.id);
  assert.equal((await repository.find(full.id)).id, full.id);
  const chain = repository.chainOf(increment, await repository.list());
  assert.deepEqual(
    chain.map(({ id }) => id),
    [increment.id, full.id],
  );
  for (const backup of chain) {
    for (const file of [...backup.disks, ...backup.files]) {
      using opened = await repository.openFile(backup, file);
      assert.equal(readFileSync(opened.path).length, file.bytes);
    }
  }
  await assert.rejects(repository.find('nobody'), (error) => isIsleError(error, 'noSuchBackup'));
});

test('a draft that is not kept leaves nothing, and one at a time writes', async () => {
  const repository = await empty();
  {
    await using draft = await repository.begin(machine.id, ['vda.qcow2']);
    assert.ok(existsSync(draft.pathOf('vda.qcow2')));
    await assert.rejects(repository.begin(machine.id, []), (error) => isIsleError(error, 'conflict'));
  }
  assert.deepEqual(readdirSync(join(repository.path, machine.id)), []);
});

test('what an unfinished backup left is swept', async () => {
  const repository = await empty();
  mkdirSync(join(repository.path, machine.id, '.new-20260101T000000Z-00000000/tpm'), { recursive: true });
  assert.deepEqual((await repository.list()).backups, []);
  await repository.sweep(machine.id);
  assert.deepEqual(readdirSync(join(repository.path, machine.id)), []);
});

test('a backup that others stand on is not removed without them', async () => {
  const { repository, full, increment } = await filled();
  await assert.rejects(
    repository.remove(full, { dependents: false }),
    (error) => isIsleError(error, 'conflict') && error.message.includes(increment.id),
  );
  assert.deepEqual(await repository.remove(full, { dependents: true }), [increment.id, full.id]);
  assert.deepEqual(readdirSync(join(repository.path, machine.id)), []);
});

test('a directory that is something else is left alone', async () => {
  const other = mkdtempSync(join(root, 'other-'));
  writeFileSync(join(other, 'mine'), '');
  const refused = (error: unknown): boolean => isIsleError(error, 'invalidParameter');
  await assert.rejects(BackupRepository.open(other, workers, { make: true }), refused);
  await assert.rejects(BackupRepository.open(other, workers, { make: false }), refused);
  await assert.rejects(BackupRepository.open('relative', workers, { make: true }), refused);
  await assert.rejects(BackupRepository.open(join(other, 'mine'), workers, { make: true }), refused);
  await assert.rejects(BackupRepository.open(join(root, 'none'), workers, { make: false }), refused);
  assert.deepEqual(readdirSync(other), ['mine']);
});

const damages: [string, (place: string, full: BackupManifest, increment: BackupManifest) => string][] = [
  [
    'a changed byte',
    (place, full) => change(join(place, full.id, 'vda.qcow2'), (bytes) => (bytes[200_000]! ^= 1)),
  ],
  [
    'a truncated file',
    (place, full) => change(join(place, full.id, 'vda.qcow2'), (bytes) => bytes.subarray(0, -1)),
  ],
  ['a missing file', (place, full) => gone(join(place, full.id, 'vda.qcow2'))],
  ['a missing parent', (place, full) => (gone(join(place, full.id)), join(place, full.id, 'manifest.json'))],
  [
    'a manifest that is cut',
    (place, full) => change(join(place, full.id, 'manifest.json'), (bytes) => bytes.subarray(0, 99)),
  ],
  [
    'a manifest that is changed',
    (place, full) =>
      change(join(place, full.id, 'manifest.json'), (bytes) =>
        Buffer.from(bytes.toString().replace('"web"', '"wex"')),
      ),
  ],
  [
    'a link in place of a file',
    (place, full) => {
      const path = join(place, full.id, 'vda.qcow2');
      renameSync(path, join(root, 'elsewhere'));
      symlinkSync(join(root, 'elsewhere'), path);
      return path;
    },
  ],
  [
    'a link in place of a directory',
    (place, full) => {
      rmSync(join(root, 'moved'), { recursive: true, force: true });
      renameSync(join(place, full.id), join(root, 'moved'));
      symlinkSync(join(root, 'moved'), join(place, full.id));
      return join(place, full.id, 'manifest.json');
    },
  ],
];
for (const [what, damage] of damages)
  test(`${what} is found, and named`, async () => {
    const { repository, full, increment } = await filled();
    const file = damage(join(repository.path, machine.id), full, increment);
    const look = async (): Promise<void> => {
      const list = await repository.list();
      for (const backup of repository.chainOf(increment, list))
        for (const one of backup.disks) (await repository.openFile(backup, one))[Symbol.dispose]();
    };
    await assert.rejects(
      look,
      (error) => isIsleError(error, 'damagedBackup') && error.message.includes(file),
    );
  });

test('an image that stands on a file of the host is no part of a backup', async () => {
  const repository = await empty();
  const outside = join(root, 'secret.raw');
  writeFileSync(outside, Buffer.alloc(2 ** 20));
  await using draft = await repository.begin(machine.id, []);
  const path = draft.pathOf('vda.qcow2');
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', outside, '-F', 'raw', path]);
  await assert.rejects(
    draft.sealDisk({ target: 'vda', name: 'vda.qcow2', virtual: 2 ** 20 }, never),
    /not what was asked/,
  );
  const bytes = readFileSync(path);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const disk = {
    name: 'vda.qcow2',
    bytes: bytes.length,
    sha256,
    target: 'vda',
    virtual: 2 ** 20,
    increment: false,
  };
  const manifest = { ...manifestOf(draft.id), disks: [disk] };
  await draft.keep(manifest);
  await assert.rejects(
    repository.openFile(manifest, disk),
    (error) => isIsleError(error, 'damagedBackup') && /secret/.test(error.message),
  );
});

test('a manifest of somebody else says nothing that leads out of its backup', () => {
  const id = '20260101T000000Z-00000000';
  const good = manifestOf(id);
  const file = { name: 'nvram.qcow2', bytes: 1, sha256: '0'.repeat(64) };
  const disk = { ...file, name: 'vda.qcow2', target: 'vda', virtual: 1, increment: false };
  const parse = (value: unknown): BackupManifest =>
    parseManifest(renderManifest(value as BackupManifest), id, 'm');
  assert.deepEqual(parse({ ...good, files: [file], disks: [disk] }), {
    ...good,
    files: [file],
    disks: [disk],
  });
  const wrong: unknown[] = [
    { ...good, id: '20260101T000000Z-00000001' },
    { ...good, machine: { id: '../../etc', name: 'web' } },
    { ...good, machine: { ...machine, name: 'a\nb' } },
    ...['../x', '/etc/passwd', 'a/../b', 'a/b/c', '.x', 'a\0b', '', 'x'.repeat(300), 'tpm/..'].map(
      (name) => ({
        ...good,
        files: [{ ...file, name }],
      }),
    ),
    { ...good, files: [file, file] },
    { ...good, disks: [disk, { ...disk, name: 'b.qcow2' }] },
    { ...good, disks: [{ ...disk, increment: true }] },
    { ...good, disks: [{ ...disk, virtual: -1 }] },
    { ...good, disks: [{ ...disk, bytes: 2 ** 60 }] },
    { ...good, disks: [{ ...disk, target: 'a","b' }] },
    {
      ...good,
      disks: Array.from({ length: 65 }, (_, at) => ({ ...disk, target: `vd${at}`, name: `vd${at}` })),
    },
    { ...good, parent: '../x' },
    { ...good, mode: 'other' },
    { ...good, createdAt: 'now' },
    { ...good, settings: undefined },
    [],
    null,
  ];
  for (const value of wrong)
    assert.throws(
      () => parse(value),
      (error) => isIsleError(error, 'damagedBackup'),
      JSON.stringify(value)?.slice(0, 200),
    );
  for (const text of ['', '{', '[]', '"x"', '{"isleBackup":2}', '{"isleBackup":1,"sha256":"","manifest":{}}'])
    assert.throws(
      () => parseManifest(text, id, 'm'),
      (error) => isIsleError(error, 'damagedBackup'),
    );
});

async function empty(): Promise<BackupRepository> {
  return await BackupRepository.open(mkdtempSync(join(root, 'repository-')), workers, { make: true });
}

/** With a full backup and an increment on it. */
async function filled(): Promise<{
  repository: BackupRepository;
  full: BackupManifest;
  increment: BackupManifest;
}> {
  const repository = await empty();
  const full = await take(repository);
  const increment = await take(repository, full.id);
  return { repository, full, increment };
}

async function take(repository: BackupRepository, parent?: string): Promise<BackupManifest> {
  await using draft = await repository.begin(machine.id, []);
  const path = draft.pathOf('vda.qcow2');
  const backing = parent ? ['-u', '-b', `../${parent}/vda.qcow2`, '-F', 'qcow2'] : [];
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, path, '16M']);
  if (!parent) execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 1M', path]);
  const disk = await draft.sealDisk(
    { target: 'vda', name: 'vda.qcow2', virtual: 16 * 2 ** 20, ...(parent ? { parent } : {}) },
    never,
  );
  const seed = join(root, 'seed');
  writeFileSync(seed, randomBytes(100));
  const file = await draft.copy(root, 'seed', 'tpm/seed', 1000);
  const manifest: BackupManifest = {
    ...manifestOf(draft.id),
    createdAt: draft.createdAt,
    ...(parent ? { parent, mode: 'incremental' as const } : {}),
    disks: [disk],
    files: [file],
  };
  await draft.keep(manifest);
  return manifest;
}

function manifestOf(id: string): BackupManifest {
  return {
    id,
    createdAt: new Date().toISOString(),
    mode: 'full',
    quiesced: false,
    machine,
    disks: [],
    files: [],
    settings: {},
  };
}

function change(path: string, by: (bytes: Buffer) => Buffer | number): string {
  const bytes = readFileSync(path);
  const changed = by(bytes);
  writeFileSync(path, typeof changed === 'number' ? bytes : changed);
  return path;
}

function gone(path: string): string {
  rmSync(path, { recursive: true });
  return path;
}

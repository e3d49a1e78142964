import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { BackupRequest } from '../../src/engine/machines.ts';
import { forgetBackups } from '../../src/engine/machines/backups/bases.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createDisks } from '../../src/storage/disks/service.ts';
import { type FakeEngine, fakeEngine, withMachines } from '../fixtures/fake-engine.ts';
import { diskRequest, machineRequest } from '../fixtures/machine-request.ts';

// The disk store, the copies and the repository are real; what is in the disks is written from outside, as their guest would.
const directory = mkdtempSync(join(tmpdir(), 'isle-machine-backup-'));
const engines: FakeEngine[] = [];
after(async () => {
  for (const { close } of engines) await close();
  rmSync(directory, { recursive: true, force: true });
});

const mib = 2 ** 20;
const never = new AbortController().signal;

test('a backup and an increment become the same machine in another engine', async () => {
  const here = await engine();
  const id = await machine(here, 'web');
  const repository = place();
  write(here, 'web-vda', 'write -P 1 0 30M');
  const full = await take(here, id, repository);
  assert.equal(full.mode, 'full');
  assert.match(full.reason ?? '', /no earlier backup/);
  write(here, 'web-vda', 'write -P 2 100M 5M');
  const progress: [number, number][] = [];
  const second = await take(here, 'web', repository, {
    onProgress: (done, total) => void progress.push([done, total]),
  });
  assert.equal(second.mode, 'incremental');
  assert.equal(second.parent, full.id);
  assert.ok(second.movedBytes < 6 * mib, `${second.movedBytes} bytes for 5 MiB and a kernel`);
  const listed = await here.engine.machines.backups.list(repository);
  assert.deepEqual(
    listed.backups.map((one) => one.id),
    [full.id, second.id],
  );
  assert.deepEqual(await here.engine.machines.backups.verify(repository, 'web', { signal: never }), {
    backups: [second.id, full.id],
    bytes: full.movedBytes + second.movedBytes,
  });

  const there = await engine();
  const told: [number, number][] = [];
  const restored = await there.engine.machines.backups.restore(repository, 'web', {
    signal: never,
    onProgress: (done, total) => void told.push([done, total]),
  });
  assert.deepEqual(restored.warnings, []);
  assert.deepEqual(told.at(-1)?.[0], told.at(-1)?.[1]);
  const [before, now] = [here, there].map(({ engine: { machines } }) => machines.get('web').spec);
  assert.equal(now?.machine.uuid, before?.machine.uuid);
  assert.deepEqual(now?.portBindings, before?.portBindings);
  assert.deepEqual(now?.labels, before?.labels);
  assert.equal(now?.machine.memory, before?.machine.memory);
  assert.equal(readFileSync(now?.machine.kernel?.path ?? '', 'utf8'), 'a kernel');
  for (const disk of ['web-vda', 'web-vdb']) same(image(here, disk), image(there, disk));
  assert.ok(await there.engine.containers.start(restored.id));
});

test('each time that an increment could lose something, all is copied, and it says why', async () => {
  const here = await engine();
  const id = await machine(here, 'web');
  const repository = place();
  const mode = async (options: Partial<BackupRequest> = {}): Promise<string> => {
    const taken = await take(here, id, repository, options);
    return `${taken.mode}: ${taken.reason ?? ''}`;
  };
  await take(here, id, repository);
  assert.equal(await mode(), 'incremental: ');
  assert.equal(await mode({ mode: 'full' }), 'full: ');
  assert.equal(await mode(), 'incremental: ');
  forgetBackups(here.options, id, 'it was reverted to the snapshot clean');
  await assert.rejects(
    take(here, id, repository, { mode: 'incremental' }),
    (error) => isIsleError(error, 'conflict') && /reverted to the snapshot clean/.test(error.message),
  );
  assert.equal(await mode(), 'full: it was reverted to the snapshot clean');
  assert.equal(await mode(), 'incremental: ');
  execFileSync('qemu-img', ['resize', '-q', '-f', 'qcow2', image(here, 'web-vda'), '300M']);
  assert.equal(await mode(), 'full: the disk vda was resized since the last backup');
  const bitmaps = bitmapsOf(image(here, 'web-vda'));
  for (const name of bitmaps)
    execFileSync('qemu-img', ['bitmap', '-f', 'qcow2', '--remove', image(here, 'web-vda'), name]);
  assert.equal(await mode(), 'full: the disk vda is another one since the last backup');
  assert.deepEqual(bitmapsOf(image(here, 'web-vda')).length, 1);
});

test('what a machine is after it was reverted is backed up as a whole', async () => {
  const here = await engine();
  const id = await machine(here, 'web');
  const repository = place();
  const { snapshots, backups } = here.engine.machines;
  await take(here, id, repository);
  write(here, 'web-vda', 'write -P 1 0 2M');
  await snapshots.take(id, { name: 'clean', comment: '', memory: false, quiesce: false });
  write(here, 'web-vda', 'write -P 2 1M 3M');
  await take(here, id, repository);
  await snapshots.revert(id, 'clean', { force: true, start: false });
  const after = await take(here, id, repository);
  assert.equal(`${after.mode}: ${after.reason}`, 'full: it was reverted to the snapshot clean');
  await snapshots.revert(id, 'clean', { force: true, start: false });
  await backups.restore(repository, after.id, { name: 'again', signal: never });
  same(image(here, 'web-vda'), image(here, 'again-vda'));
});

test('two directories have each their own increments', async () => {
  const here = await engine();
  const id = await machine(here, 'web');
  const [one, two] = [place(), place()];
  await take(here, id, one);
  await take(here, id, two);
  write(here, 'web-vda', 'write -P 3 10M 1M');
  assert.equal((await take(here, id, two)).mode, 'incremental');
  write(here, 'web-vda', 'write -P 4 20M 1M');
  const last = await take(here, id, one);
  assert.equal(last.mode, 'incremental');
  same(image(here, 'web-vda'), join(one, id, last.id, 'vda.qcow2'));
  assert.equal(bitmapsOf(image(here, 'web-vda')).length, 2);
});

test('a backup that is given up leaves the machine and the directory as they were', async () => {
  const here = await engine();
  const id = await machine(here, 'web');
  const repository = place();
  const first = await take(here, id, repository);
  write(here, 'web-vda', 'write -P 1 0 100M');
  const abort = new AbortController();
  const given = take(here, id, repository, {
    signal: abort.signal,
    onProgress: () => abort.abort(new Error('enough')),
  });
  await assert.rejects(given, /enough/);
  assert.deepEqual(readdirSync(join(repository, id)), [first.id]);
  assert.deepEqual(bitmapsOf(image(here, 'web-vda')), [`isle-backup-${first.id}`]);
  assert.deepEqual(here.store.table('intents').all(), []);
  assert.equal((await take(here, id, repository)).mode, 'incremental');
});

test('a damaged backup is not restored, and nothing of the machine stays', async () => {
  const here = await engine();
  const id = await machine(here, 'web');
  const repository = place();
  write(here, 'web-vda', 'write -P 1 0 3M');
  const full = await take(here, id, repository);
  const last = await take(here, id, repository);
  const file = join(repository, id, full.id, 'vda.qcow2');
  const bytes = readFileSync(file);
  bytes[bytes.length - 70_000]! ^= 1;
  writeFileSync(file, bytes);
  const damaged = (error: unknown): boolean =>
    isIsleError(error, 'damagedBackup') && error.message.includes(file);
  const { backups } = here.engine.machines;
  await assert.rejects(backups.verify(repository, last.id, { signal: never }), damaged);
  await assert.rejects(backups.restore(repository, last.id, { name: 'two', signal: never }), damaged);
  assert.deepEqual(
    here.engine.machines.list().map(({ name }) => name),
    ['web'],
  );
  assert.equal(readdirSync(join(here.options.dataRoot, 'machines')).length, 1);
});

test('of many backups the newest stay, with what they stand on', async () => {
  const here = await engine();
  const id = await machine(here, 'web');
  const repository = place();
  const ids: string[] = [];
  for (const mode of ['auto', 'auto', 'full', 'auto', 'auto'] as const)
    ids.push((await take(here, id, repository, { mode })).id);
  const { backups } = here.engine.machines;
  assert.deepEqual(await backups.prune(repository, 'web', { keep: 1 }), { removed: [ids[1], ids[0]] });
  await assert.rejects(
    backups.remove(repository, ids[2]!, { dependents: false }),
    (error) => isIsleError(error, 'conflict') && error.message.includes(ids[4]!),
  );
  assert.deepEqual(await backups.remove(repository, ids[3]!, { dependents: true }), {
    removed: [ids[4], ids[3]],
  });
  assert.deepEqual(
    (await backups.list(repository)).backups.map((one) => one.id),
    [ids[2]],
  );
});

test('a restored machine beside its source has another name and hardware address', async () => {
  const here = await engine();
  await machine(here, 'web', { macAddress: '02:42:ac:11:00:99' });
  const repository = place();
  await take(here, 'web', repository);
  const { id } = await here.engine.machines.backups.restore(repository, 'web', { signal: never });
  const { name, spec } = here.engine.machines.get(id);
  assert.match(name, /^web-[0-9a-f]{6}$/);
  assert.equal(Object.values(spec.networks)[0]?.macAddress, undefined);
  await here.engine.machines.remove(id, { force: true, disks: true });
});

async function engine(): Promise<FakeEngine> {
  const dataRoot = mkdtempSync(join(tmpdir(), 'isle-engine-'));
  const disks = createDisks({ dataRoot, log: silentLog() });
  const fake = await fakeEngine({ dataRoot, disks }, undefined, withMachines);
  engines.push(fake);
  return fake;
}

async function machine(
  fake: FakeEngine,
  name: string,
  endpoint: { macAddress?: string } = {},
): Promise<string> {
  const kernel = join(mkdtempSync(join(directory, 'kernel-')), 'vmlinuz');
  writeFileSync(kernel, 'a kernel');
  const disk = (size: number) => diskRequest({ kind: 'empty', size });
  const request = machineRequest(
    {
      kernel: { path: kernel, arguments: 'quiet' },
      cloudInit: { instanceId: 'i-1', sshKeys: ['ssh-ed25519 AAAA me'] },
    },
    [disk(200 * mib), disk(50 * mib)],
    {
      labels: { tier: 'one' },
      portBindings: [{ port: 80, protocol: 'tcp', hostIp: '', hostPort: 8080 }],
      networks: endpoint.macAddress === undefined ? {} : { bridge: endpoint },
    },
  );
  return (await fake.engine.machines.create(name, request)).id;
}

function place(): string {
  return mkdtempSync(join(directory, 'repository-'));
}

async function take(fake: FakeEngine, id: string, repository: string, more: Partial<BackupRequest> = {}) {
  return await fake.engine.machines.backups.take(id, {
    repository,
    mode: 'auto',
    quiesce: false,
    signal: never,
    ...more,
  });
}

function image(fake: FakeEngine, disk: string): string {
  return fake.options.disks.files(disk).path;
}

function write(fake: FakeEngine, disk: string, command: string): void {
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', command, image(fake, disk)]);
}

function same(one: string, other: string): void {
  assert.ok(existsSync(one) && existsSync(other));
  execFileSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', one, other]);
}

function bitmapsOf(path: string): string[] {
  const info = JSON.parse(
    execFileSync('qemu-img', ['info', '-f', 'qcow2', '--output=json', path], { encoding: 'utf8' }),
  ) as {
    'format-specific': { data: { bitmaps?: { name: string }[] } };
  };
  return (info['format-specific'].data.bitmaps ?? []).map(({ name }) => name);
}

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { FakeEngine } from '../fixtures/fake-engine.ts';
import { openMachines } from '../fixtures/fake-machines.ts';
import { diskRequest, machineRequest } from '../fixtures/machine-request.ts';

const root = join(import.meta.dirname, '../..');
const never = new AbortController().signal;

const points = [
  ...new Set(
    globSync('src/**/*.ts', { cwd: root })
      .filter((file) => !file.endsWith('.test.ts'))
      .flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)])
      .map((match) => match[1]!)
      .filter((name) => name.startsWith('machine.backup.')),
  ),
];

describe('an engine killed while it backs a machine up', { concurrency: 2 }, () => {
  assert.ok(points.length > 10, `only ${points.length} failpoints were found`);
  for (const point of ['none', ...points]) test(`at ${point}`, () => endedAt(point, 'kill'));
  // At the increment: the full one before it is there.
  for (const point of points.filter((name) => !name.includes('remove')))
    test(`at ${point}, the second time`, () => endedAt(point, 'kill@2'));
});

describe('an engine whose disk fails while it backs a machine up', { concurrency: 2 }, () => {
  for (const point of points) test(`at ${point}`, () => endedAt(point, 'enospc'));
});

async function endedAt(point: string, action: string): Promise<void> {
  const base = await mkdtemp(join(tmpdir(), 'isle-crash-backups-'));
  const [dataRoot, repository] = [join(base, 'data'), join(base, 'backups')];
  try {
    await mkdir(dataRoot);
    const made = await openMachines(dataRoot);
    const { id } = await made.engine.machines.create(
      'web',
      machineRequest({}, [diskRequest({ kind: 'empty', size: 8 * 1024 * 1024 })]),
    );
    const image = made.options.disks.files('web-vda').path;
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 5 1M 2M', image]);
    await made.engine.close();
    const told = await victim(dataRoot, repository, point === 'none' ? '' : `${point}=${action}`);
    if (point === 'none') assert.match(told, /removed/);
    const first = await openMachines(dataRoot);
    await checkAcknowledged(first, { id, image, repository, told });
    await first.engine.close();
    const state = await stateOf(dataRoot, repository, id, image);
    const second = await openMachines(dataRoot);
    await second.engine.close();
    assert.deepEqual(
      await stateOf(dataRoot, repository, id, image),
      state,
      'a second recovery has nothing to do',
    );
    const third = await openMachines(dataRoot);
    await goesOn(third, { id, image, repository });
    await third.engine.machines.remove('web', { force: true, disks: true });
    await third.engine.close();
  } finally {
    await rm(base, { recursive: true, force: true });
  }
}

interface Place {
  id: string;
  image: string;
  repository: string;
}

/** What was said to be taken is whole; nothing else is there, on the disks either. */
async function checkAcknowledged(fake: FakeEngine, place: Place & { told: string }): Promise<void> {
  const { backups } = fake.engine.machines;
  const { id, repository, image, told } = place;
  const taken = [...told.matchAll(/^taken (\S+)$/gm)].map((match) => match[1]!);
  const names = (await readdir(join(repository, id)).catch(() => [])) as string[];
  assert.deepEqual(
    names.filter((name) => name.startsWith('.')),
    [],
    'files of an unfinished backup',
  );
  const there = names.length === 0 ? [] : (await backups.list(repository)).backups.map((one) => one.id);
  for (const one of there) await backups.verify(repository, one, { signal: never });
  if (!told.includes('removing')) for (const one of taken) assert.ok(there.includes(one), `${one} is gone`);
  if (/^removed/m.test(told)) assert.deepEqual(there, []);
  for (const bitmap of bitmapsOf(image))
    assert.ok(
      [...there, ...taken].some((one) => bitmap === `isle-backup-${one}`),
      `bitmap ${bitmap} of no backup`,
    );
  assert.deepEqual(fake.store.table('intents').all(), []);
}

/** The next backups are right, whatever was left. */
async function goesOn(fake: FakeEngine, { image, repository, id }: Place): Promise<void> {
  const { backups } = fake.engine.machines;
  const take = () => backups.take('web', { repository, mode: 'auto', quiesce: false, signal: never });
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 6 4M 1M', image]);
  await take();
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 6M 1M', image]);
  const last = await take();
  assert.equal(last.mode, 'incremental');
  const file = join(repository, id, last.id, 'vda.qcow2');
  execFileSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', image, file]);
}

async function stateOf(dataRoot: string, repository: string, id: string, image: string): Promise<object> {
  const list = async (path: string): Promise<string[]> => {
    const names: string[] = await readdir(path).catch(() => []);
    return names.sort();
  };
  return {
    backups: await list(join(repository, id)),
    machines: await list(join(dataRoot, 'machines')),
    disks: await list(join(dataRoot, 'disks')),
    bitmaps: bitmapsOf(image),
  };
}

function bitmapsOf(path: string): string[] {
  const text = execFileSync('qemu-img', ['info', '-U', '-f', 'qcow2', '--output=json', path], {
    encoding: 'utf8',
  });
  const info = JSON.parse(text) as { 'format-specific': { data: { bitmaps?: { name: string }[] } } };
  return (info['format-specific'].data.bitmaps ?? []).map(({ name }) => name);
}

/** What the victim told before it ended. */
async function victim(dataRoot: string, repository: string, failpoints: string): Promise<string> {
  const script = join(root, 'test/fixtures/backup-victim.ts');
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', script, dataRoot, repository],
    {
      env: { ...process.env, ISLE_FAILPOINT: failpoints },
      stdio: ['ignore', 'pipe', failpoints === '' ? 'inherit' : 'ignore'],
    },
  );
  let told = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (told += text));
  await new Promise((resolve) => child.once('close', resolve));
  return told;
}

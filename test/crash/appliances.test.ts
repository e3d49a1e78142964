import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileAppliances } from '../../src/images/appliances/file-appliances.ts';
import { silentLog } from '../../src/lib/log.ts';
import { openStore } from '../../src/state/store.ts';
import { createDisks } from '../../src/storage/disks/service.ts';
import { contentOf, writeTestDisk } from '../fixtures/appliances/disks.ts';
import { samples } from '../fixtures/appliances/samples.ts';
import { fakeEngine, withMachines } from '../fixtures/fake-engine.ts';

const root = join(import.meta.dirname, '../..');
const base = mkdtempSync(join(tmpdir(), 'isle-crash-appliances-'));
after(() => rmSync(base, { recursive: true, force: true }));
const size = 4 << 20;
const raw = join(base, 'disk.raw');
const content = writeTestDisk(raw, size);
mkdirSync(join(base, 'source'));
const file = samples['VMware VMX, split']!(join(base, 'source'), raw);

const points = [
  ...new Set(
    globSync(['src/engine/**/*.ts', 'src/images/appliances/*.ts'], { cwd: root })
      .filter((path) => !path.endsWith('.test.ts'))
      .flatMap((path) => [
        ...readFileSync(join(root, path), 'utf8').matchAll(/failpoint\('(appliance\.[^']+)'\)/g),
      ])
      .flatMap((match) => match[1] ?? []),
  ),
];

describe('an engine killed, or on a full disk, while machines come in and go out', () => {
  assert.ok(points.length > 4, `only ${points.length} failpoints were found`);
  for (const point of ['none', ...points])
    for (const action of point === 'none' ? [''] : ['kill', 'enospc'])
      test(`${point} ${action}`, () => endedAt(point, action));
});

async function endedAt(point: string, action: string): Promise<void> {
  const place = mkdtempSync(join(base, 'life-'));
  const dataRoot = join(place, 'data');
  const out = join(place, 'out');
  mkdirSync(dataRoot);
  mkdirSync(out);
  const target = join(out, 'one.ova');
  const told = await victim([dataRoot, file, target], action === '' ? '' : `${point}=${action}`);
  const steps = ['imported one', 'imported two', 'exported one'];
  if (action === '')
    assert.deepEqual(
      steps.filter((step) => !told.has(step)),
      [],
      [...told].join('; '),
    );
  else assert.notEqual(steps.filter((step) => told.has(step)).length, 3, 'nobody came by');
  for (let restart = 0; restart < 2; restart++) {
    const store = openStore(join(dataRoot, 'isle.db'));
    const disks = createDisks({ dataRoot, log: silentLog() });
    const fake = await fakeEngine(
      { dataRoot, store, disks, appliances: fileAppliances() },
      undefined,
      withMachines,
    );
    const machines = fake.engine.machines.list();
    for (const name of ['one', 'two'])
      if (told.has(`imported ${name}`))
        assert.ok(
          machines.some((machine) => machine.name === name),
          `${name} is gone`,
        );
    assert.deepEqual(
      disks.list().map(({ id, owner }) => [id, owner]),
      machines.flatMap(({ id, spec }) => spec.machine.disks.map(({ diskId }) => [diskId, id])),
    );
    for (const { spec } of machines)
      assert.equal(
        contentOf(disks.files(spec.machine.disks[0]!.diskId!).path, 'qcow2', place, size),
        content,
      );
    assert.deepEqual(readdirSync(join(dataRoot, 'machines')).sort(), machines.map(({ id }) => id).sort());
    for (const { id } of machines)
      assert.deepEqual(
        readdirSync(join(dataRoot, 'machines', id)).filter((name) => /import|export|refit/.test(name)),
        [],
      );
    await fake.engine.close();
    store.close();
  }
  if (told.has('exported one')) assert.ok(existsSync(target));
  // A whole one, or none; a daemon that was killed may leave what it wrote under another name.
  if (action !== 'kill')
    assert.deepEqual(
      readdirSync(out),
      told.has('exported one') || point.endsWith('write.after') ? ['one.ova'] : [],
    );
  if (existsSync(target)) await (await fileAppliances().read(target))[Symbol.asyncDispose]();
}

async function victim(args: string[], failpoints: string): Promise<Set<string>> {
  const script = join(root, 'test/fixtures/appliances-victim.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, ...args], {
    env: { ...process.env, ISLE_FAILPOINT: failpoints },
    stdio: ['ignore', 'pipe', failpoints === '' ? 'inherit' : 'ignore'],
  });
  let told = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (told += text));
  await new Promise((resolve) => child.once('close', resolve));
  return new Set(told.split('\n'));
}

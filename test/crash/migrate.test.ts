import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Workload } from '../../src/engine/runtime.ts';
import { generationsOf } from '../../src/runtimes/machine/supervisor.ts';
import { layoutOf } from '../../src/runtimes/machine/layout.ts';
import { machineDisk, machineFixture, type MachineFixture, tinySpec } from '../fixtures/machine.ts';

const root = join(import.meta.dirname, '../..');

const points = globSync('src/runtimes/machine/**/*.ts', { cwd: root })
  .filter((file) => !file.endsWith('.test.ts'))
  .flatMap((file) => [
    ...readFileSync(join(root, file), 'utf8').matchAll(/failpoint\('(machine\.migrate\.[^']+)'\)/g),
  ])
  .map((match) => match[1]!);

let machines: MachineFixture;
let workload: Workload;
before(async () => {
  machines = await machineFixture();
  workload = await machines.up(tinySpec({ disks: [machineDisk()] }));
  const counter = 'i=0; while :; do echo tick $i; echo $i >/dev/vda; i=$((i+1)); sleep 0.1; done';
  await machines.type(workload, `(${counter}) & true`);
});
after(async () => {
  await machines.runtime.delete(workload.id);
  await machines.dispose();
});

test('the suite sees the failpoints of migration', () => {
  assert.ok(points.length >= 7, `only ${points.length}`);
});

for (const action of ['kill', 'error'])
  for (const point of ['none', ...points])
    test(`a daemon that ends (${action}) at ${point} leaves one guest, which goes on`, async () => {
      machines.runtime.disconnect();
      const told = await victim(point === 'none' ? '' : `${point}=${action}`);
      if (point === 'none') assert.match(told, /moved/);
      const runtime = await machines.restart();
      const found = await runtime.recover(workload.id);
      assert.equal(found.state, 'running');
      await runtime.machines.info(workload.id);
      assert.equal(
        (await generationsOf(layoutOf(machines.options.runRoot).machine(workload.id).control)).length,
        1,
      );
      const last = ticksOf(await machines.console(workload, /tick/)).at(-1)!;
      const ticks = ticksOf(await machines.console(workload, new RegExp(`tick ${last + 5}\\b`)));
      assert.deepEqual(
        ticks,
        Array.from({ length: ticks.length }, (_, at) => at),
      );
    });

function ticksOf(console: string): number[] {
  return [...console.matchAll(/tick (\d+)/g)].map((match) => Number(match[1]));
}

/** What the victim told before it ended. */
async function victim(failpoints: string): Promise<string> {
  const { runRoot, dataRoot, instance } = machines.options;
  const script = join(root, 'test/fixtures/migrate-victim.ts');
  const args = ['--disable-warning=ExperimentalWarning', script, runRoot, dataRoot, instance, workload.id];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ISLE_FAILPOINT: failpoints },
    stdio: ['ignore', 'pipe', failpoints === '' ? 'inherit' : 'ignore'],
  });
  let told = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (told += text));
  await new Promise((resolve) => child.once('close', resolve));
  return told;
}

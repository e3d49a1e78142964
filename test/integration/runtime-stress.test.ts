import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Runtime } from '../../src/engine/runtime.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { type OciFixture, ociFixture } from '../fixtures/oci.ts';

/** Milliseconds of it. */
const duration = 5000;

test('containers that are started, used, killed and deleted all at once leave nothing, and fail only as they may', async () => {
  const fixture = await ociFixture();
  const end = performance.now() + duration;
  await Promise.all(Array.from({ length: 4 }, () => lives(fixture, end)));
  const { runRoot } = fixture.options;
  for (let tries = 0; tries < 100; tries++) {
    const left = await Promise.all(['pids', 'tty', 'exits'].map((name) => readdir(join(runRoot, name))));
    if (left.flat().length === 0) break;
    await delay(20);
  }
  for (const name of ['pids', 'tty', 'exits', 'containers', 'runtime'])
    assert.deepEqual(await readdir(join(runRoot, name)), [], name);
  await fixture.dispose();
});

async function lives(fixture: OciFixture, end: number): Promise<void> {
  const { runtime } = fixture;
  while (performance.now() < end) {
    const workload = await fixture.workload({
      args: any(['sh', '-c', 'read A; echo $A'], ['true'], ['sleep', '50'], ['nope']),
      tty: any(true, false, false),
      stdin: any(true, false),
      stdinOnce: any(true, false),
      init: any(true, false, false),
    });
    try {
      await runtime.create(workload);
    } catch (error) {
      assert.ok(isIsleError(error, 'commandNotFound'), String(error));
      await runtime.delete(workload.id);
      continue;
    }
    const jobs = [any(1, 0) ? runtime.start(workload.id) : undefined];
    const uses = Array.from({ length: any(0, 1, 2, 3) }, () => use(runtime, workload.id));
    const settled = Promise.allSettled([...jobs, ...uses]);
    await delay(any(0, 5, 20, 60));
    await Promise.all([runtime.delete(workload.id), any(1, 0) ? runtime.delete(workload.id) : undefined]);
    for (const job of await settled)
      if (job.status === 'rejected')
        assert.ok(
          isIsleError(job.reason, 'conflict', 'commandNotFound', 'noSuchContainer'),
          String(job.reason),
        );
  }
}

async function use(runtime: Runtime, id: string): Promise<void> {
  const uses = [
    async () => {
      const streams = await runtime.attach(id);
      streams.stdout.resume();
      streams.stderr.resume();
      streams.stdin?.write('x\n');
      if (any(true, false)) streams.close();
    },
    async () => {
      const session = await runtime.exec(id, {
        id: newId(),
        args: any(['true'], ['sleep', '20'], ['zip']),
        env: ['PATH=/bin'],
        cwd: '/',
        user: '',
        tty: any(true, false),
        stdin: false,
        privileged: false,
        detached: any(true, false),
      });
      session.streams.stdout.resume();
      session.streams.stderr.resume();
      await session.exit;
    },
    async () => await runtime.signal(id, any(9, 15, 1)),
    async () => {
      await runtime.pause(id);
      await runtime.resume(id);
    },
    async () => await runtime.update(id, { pidsLimit: 100 }),
    async () => await runtime.resize(id, { columns: 80, rows: 24 }),
    async () => void (await runtime.processes(id)),
  ];
  await any(...uses)();
}

function any<const T>(...choices: T[]): T {
  return choices[Math.floor(Math.random() * choices.length)]!;
}

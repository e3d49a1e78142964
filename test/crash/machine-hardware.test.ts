import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { consoleShows, tinyMachine } from '../fixtures/tiny-machine.ts';

/** A daemon that dies while it changes a running machine's hardware: the next one can change it on, and nothing is left of it. */
const points = ['disks', 'medium', 'cpus', 'memory'].flatMap((name) => {
  const source = join(import.meta.dirname, `../../src/runtimes/machine/control/${name}.ts`);
  return [...readFileSync(source, 'utf8').matchAll(/failpoint\('([^']+)'\)/g)].map(([, point]) => point!);
});

const mebibyte = 2 ** 20;
const one = '/isle/v1/machines/vm';
let daemon: TestDaemon;
let iso: string;
before(async () => {
  daemon = await startDaemon({ busybox: false });
  iso = join(daemon.root, 'a.iso');
  writeFileSync(iso, Buffer.alloc(64 * 1024));
  const machine = tinyMachine('vm', {
    Hardware: {
      Memory: 192 * mebibyte,
      MaxMemory: 512 * mebibyte,
      MaxVcpus: 4,
      Cdroms: [{ Target: 'sdb' }],
    },
    Disks: [{ Source: { Kind: 'empty', Size: mebibyte } }],
  });
  await daemon.ok('POST', '/isle/v1/machines', machine);
  await daemon.ok('POST', '/containers/vm/start');
  await consoleShows(daemon, 'vm');
});
after(async () => await daemon?.close());

const attach = () =>
  daemon.call('POST', `${one}/disks`, { Target: 'vdb', Source: { Kind: 'empty', Size: mebibyte } });
const detach = () => daemon.call('DELETE', `${one}/disks/vdb?remove=1`);
let vcpus = 1;
let memory = 192 * mebibyte;
/** The guest has no driver for memory: it stays as it is, which is said. */
const changes: Record<string, () => Promise<{ status: number; text: string }>> = {
  medium: () => daemon.call('PUT', `${one}/cdroms/sdb`, { Path: iso }),
  vcpus: () => daemon.call('PUT', `${one}/vcpus`, { Count: ++vcpus }),
  memory: () => daemon.call('PUT', `${one}/memory`, { Bytes: (memory -= 4 * mebibyte) }),
};

for (const point of points)
  test(`killed at ${point}, a machine's hardware can be changed on`, async () => {
    await daemon.kill9();
    await daemon.start({ ISLE_FAILPOINT: `${point}=kill` });
    const what = point.split('.')[1]!;
    if (point === 'machine.memory.plug')
      await daemon.call('PUT', `${one}/memory`, { Bytes: 256 * mebibyte }).catch(() => {});
    else if (changes[what]) await changes[what]().catch(() => {});
    else if (what === 'plug') await attach().catch(() => {});
    else
      await attach()
        .then(detach)
        .catch(() => {});
    assert.ok(await daemon.diesSoon(), `nobody came by ${point}`);
    await daemon.ended();
    await daemon.start();
    const { State } = (await daemon.ok('GET', '/containers/vm/json')).json<{ State: { Running: boolean } }>();
    assert.ok(State.Running);
    if (changes[what]) {
      const { status, text } = await changes[what]();
      assert.ok([204, 409].includes(status), text);
    }
    // Whatever of it was done: it can be undone, and done.
    const undone = await detach();
    assert.ok([204, 400].includes(undone.status), undone.text);
    const done = await attach();
    assert.equal(done.status, 201, done.text);
    const again = await detach();
    assert.equal(again.status, 204, again.text);
    const stored = (await daemon.ok('GET', '/isle/v1/disks')).json<{ Id: string }[]>();
    assert.deepEqual(
      stored.map(({ Id }) => Id),
      ['vm-vda'],
    );
    await delay(100);
  });

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { clock } from '../fixtures/guest-machine.ts';
import { tinyGuestWithAgent } from '../fixtures/tiny-agent.ts';
import { tinyBootTime, tinyPrompt } from '../fixtures/tiny-guest.ts';

/** A daemon that dies while it plugs a network card into a machine, or unplugs it: the next one ends up with the one or the other. */
const source = join(import.meta.dirname, '../../src/runtimes/machine/control/links.ts');
const own = [...readFileSync(source, 'utf8').matchAll(/failpoint\('([^']+)'\)/g)].map(([, name]) => name!);
const points = [...own, 'network.disconnect.after'];

let daemon: TestDaemon;
let machine: string;
before(async () => {
  daemon = await startDaemon({ busybox: false });
  await daemon.ok('POST', '/networks/create', { Name: 'back' });
  const { kernel, initrd, arguments: line } = tinyGuestWithAgent();
  const Kernel = { Path: kernel, Initrd: initrd, Arguments: `${line} ${clock()}` };
  const made = await daemon.ok('POST', '/isle/v1/machines', {
    Name: 'vm',
    Container: {},
    Hardware: { Memory: 160 * 2 ** 20, Kernel },
    Disks: [],
  });
  machine = made.json<{ Id: string }>().Id;
  await daemon.ok('POST', `/containers/${machine}/start`);
  const logs = async (): Promise<string> =>
    (await daemon.ok('GET', `/containers/${machine}/logs?stdout=1`)).text;
  for (const end = Date.now() + tinyBootTime; !(await logs()).includes(tinyPrompt); await delay(300))
    assert.ok(Date.now() < end, 'the guest did not boot');
});
after(async () => {
  await daemon?.close();
});

const change = async (what: 'connect' | 'disconnect'): Promise<number> =>
  (await daemon.call('POST', `/networks/back/${what}`, { Container: machine })).status;
/** The cards that the guest has. */
const cards = async (): Promise<string[]> => {
  const body = { AttachStdout: true, Cmd: ['sh', '-c', 'cat /sys/class/net/*/address'] };
  const { Id } = (await daemon.ok('POST', `/containers/${machine}/exec`, body)).json<{ Id: string }>();
  return (await daemon.ok('POST', `/exec/${Id}/start`, {})).text.match(/52:54:00(:[0-9a-f]{2}){3}/g) ?? [];
};

for (const point of points)
  test(`killed at ${point}, a machine's cards can be changed on`, async () => {
    await daemon.kill9();
    await daemon.start({ ISLE_FAILPOINT: `${point}=kill` });
    const first = /disconnect|unplugged|untap/.test(point) ? ['connect', 'disconnect'] : ['connect'];
    for (const what of first) await change(what as 'connect').catch(() => {}); // It dies.
    assert.ok(await daemon.diesSoon(), `nobody came by ${point}`);
    await daemon.ended();
    await daemon.start();
    const { Running } = (await daemon.ok('GET', `/containers/${machine}/json`)).json<{
      State: { Running: boolean };
    }>().State;
    assert.ok(Running);
    // Whatever of it was done: it can be done, and undone.
    assert.ok([200, 403].includes(await change('disconnect')));
    assert.equal(await change('connect'), 200);
    for (const end = Date.now() + 20_000; (await cards()).length !== 2; await delay(300))
      assert.ok(Date.now() < end, 'two cards');
    assert.equal(await change('disconnect'), 200);
    for (const end = Date.now() + 20_000; (await cards()).length !== 1; await delay(300))
      assert.ok(Date.now() < end, 'one card');
  });

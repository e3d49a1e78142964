import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isle } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';

interface Inspected {
  State: { Status: string; StartedAt: string; FinishedAt: string };
  Config: { Labels: Record<string, string> };
}

describe('containers that start with the engine', { concurrency: false }, () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon();
    // As the stock client would, as isle does, and by a restart policy without an order.
    await run('first', { Labels: { 'isle.autostart': '-5', 'isle.autostart.delay': '1' } });
    await cli('run', '-d', '--name', 'last', '--autostart=10', '--network', 'none', 'busybox', ...keepUp);
    await run('middle', { HostConfig: { NetworkMode: 'none', RestartPolicy: { Name: 'unless-stopped' } } });
    await run('never', {});
  });
  after(async () => await daemon.close());

  const keepUp = ['sh', '-c', 'trap exit TERM; sleep 1000 & wait'];
  const run = async (name: string, more: object) => {
    const body = { Image: 'busybox', Cmd: keepUp, HostConfig: { NetworkMode: 'none' }, ...more };
    await daemon.ok('POST', `/containers/create?name=${name}`, body);
    await daemon.ok('POST', `/containers/${name}/start`);
  };
  const cli = async (...args: string[]) => {
    const { code, stderr } = await isle(daemon.host, args);
    assert.equal(code, 0, stderr);
  };
  const inspect = async (name: string) =>
    (await daemon.ok('GET', `/containers/${name}/json`)).json<Inspected>();
  const up = async (...names: string[]) => {
    for (let attempt = 0; attempt < 600; attempt++, await sleep(50)) {
      const found = await Promise.all(names.map(inspect));
      if (found.every(({ State }) => State.Status === 'running')) return found;
    }
    return assert.fail(`never up: ${names.join()}`);
  };

  test('stop in the opposite order of their start', async () => {
    await daemon.ok('POST', '/isle/v1/stop-workloads');
    const [first, middle, last] = await Promise.all(['first', 'middle', 'last'].map(inspect));
    assert.equal(first!.State.Status, 'exited');
    assert.ok(last!.State.FinishedAt < middle!.State.FinishedAt, 'last before middle');
    assert.ok(middle!.State.FinishedAt < first!.State.FinishedAt, 'middle before first');
  });

  test('come up in their order, after the delays asked for, and others do not', async () => {
    await daemon.stop();
    await daemon.start();
    const [first, middle, last] = await up('first', 'middle', 'last');
    const at = (one: Inspected | undefined) => Date.parse(one!.State.StartedAt);
    assert.ok(at(middle) - at(first) >= 1000, `${at(middle) - at(first)} ms`);
    assert.ok(at(last) >= at(middle));
    assert.equal((await inspect('never')).State.Status, 'exited');
  });

  test('one that the user stopped stays down', async () => {
    await daemon.ok('POST', '/containers/last/stop');
    await daemon.ok('POST', '/isle/v1/stop-workloads');
    await daemon.kill9();
    await daemon.start();
    await up('first', 'middle');
    assert.equal((await inspect('last')).State.Status, 'exited');
  });

  test('isle update changes order and delay, or takes them away', async () => {
    await cli('update', '--autostart=3', 'never');
    await cli('update', '--autostart-delay', '7', 'never');
    assert.deepEqual((await inspect('never')).Config.Labels, {
      'isle.autostart': '3',
      'isle.autostart.delay': '7',
    });
    await cli('update', '--autostart=false', 'never');
    assert.deepEqual((await inspect('never')).Config.Labels, {});
  });

  test('a label that is no order is refused', async () => {
    const { status, text } = await daemon.call('POST', '/containers/create', {
      Image: 'busybox',
      Labels: { 'isle.autostart': 'soon' },
    });
    assert.equal(status, 400);
    assert.match(text, /isle\.autostart=soon: a whole number/);
  });
});

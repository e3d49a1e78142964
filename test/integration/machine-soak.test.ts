/** A machine that is started and at the same moment stopped, killed, paused, saved, reset, renamed or removed: whatever wins, it goes. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { tinyMachine } from '../fixtures/tiny-machine.ts';

/** What may become of a call that another one overtook. */
const overtaken = /it is stopping, or was killed|was stopped while it started/;

let daemon: TestDaemon;

before(async () => {
  daemon = await startDaemon({ busybox: false });
});
after(async () => await daemon.close());

const disk = { Source: { Kind: 'empty', Size: 16 * 2 ** 20 } };
const calls: readonly [method: string, path: string, body?: object][] = [
  ['POST', '/containers/soak/kill'],
  ['POST', '/containers/soak/stop?t=0'],
  ['POST', '/containers/soak/restart?t=0'],
  ['POST', '/containers/soak/pause'],
  ['POST', '/containers/soak/unpause'],
  ['POST', '/containers/soak/rename?name=other'],
  ['DELETE', '/containers/soak?force=1'],
  ['GET', '/isle/v1/machines/soak'],
  ['POST', '/isle/v1/machines/soak/reset'],
  ['POST', '/isle/v1/machines/soak/save'],
  ['POST', '/isle/v1/machines/soak/snapshots', { Name: 'disks' }],
  ['POST', '/isle/v1/machines/soak/snapshots', { Name: 'all', Memory: true }],
];

test('whatever is asked of a machine that starts, it answers and can be removed', async (t) => {
  for (let round = 0; round < 30; round++) {
    await daemon.ok('POST', '/isle/v1/machines', tinyMachine('soak', { Disks: [disk] }));
    const story = ['start'];
    const call = async (method: string, path: string, body?: object): Promise<void> => {
      const { status, text } = await daemon.call(method, path, body);
      assert.ok(
        status < 500 || overtaken.test(text),
        `round ${round}, ${story.join(', ')}: ${path} answered ${status} ${text}`,
      );
    };
    const begun = [call('POST', '/containers/soak/start')];
    for (let more = 0; more < 2; more++) {
      const pause = Math.random() * (more === 0 ? 500 : 100);
      const one = calls[Math.floor(Math.random() * calls.length)]!;
      story.push(`${Math.round(pause)} ms`, one[1]);
      await sleep(pause);
      begun.push(call(...one));
    }
    t.diagnostic(story.join(', '));
    await Promise.all(begun);
    for (const { Id } of (await daemon.ok('GET', '/containers/json?all=1')).json<{ Id: string }[]>())
      await daemon.ok('DELETE', `/isle/v1/machines/${Id}?force=1`);
    for (const { Id } of (await daemon.ok('GET', '/isle/v1/disks')).json<{ Id: string }[]>())
      await daemon.ok('DELETE', `/isle/v1/disks/${Id}`);
  }
});

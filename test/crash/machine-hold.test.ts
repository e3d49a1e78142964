import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { MachineConsole } from '../fixtures/machine-console.ts';
import { tinyMachine } from '../fixtures/tiny-machine.ts';

/** A guest that stands still for something that the daemon does not live to finish goes on with the next one. */
describe('a daemon killed while a guest stands still', { concurrency: false }, () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon({ busybox: false });
    const disk = { Source: { Kind: 'empty', Size: 64 * 2 ** 20 } };
    await daemon.ok('POST', '/isle/v1/machines', tinyMachine('deb', { Disks: [disk] }));
    await daemon.ok('POST', '/containers/deb/start');
    using console = new MachineConsole(daemon.socket, 'deb');
    await console.booted();
    await console.run('word=kept; echo disk | dd of=/dev/vda conv=fsync 2>/dev/null');
  });
  after(async () => await daemon.close());

  const lives = [
    ['machine.save.before', '/isle/v1/machines/deb/save', {}],
    ['machine.save.after', '/isle/v1/machines/deb/save', {}],
    ['machine.pivot.before', '/isle/v1/machines/deb/clone', { Linked: true }],
    ['machine.pivot.after', '/isle/v1/machines/deb/clone', { Linked: true }],
  ] as const;
  for (const [point, path, body] of lives)
    test(`at ${point}`, async () => {
      await daemon.kill9();
      await daemon.start({ ISLE_FAILPOINT: `${point}=kill` });
      await assert.rejects(daemon.ok('POST', path, body));
      assert.ok(await daemon.diesSoon(), 'nobody came by');
      await daemon.ended();
      await daemon.start();
      const { State, Saved } = (await daemon.ok('GET', '/isle/v1/machines/deb')).json<
        Record<string, unknown>
      >();
      assert.deepEqual([State, Saved], ['running', false]);
      using console = new MachineConsole(daemon.socket, 'deb');
      assert.equal(
        await console.run('echo $word; dd if=/dev/vda bs=4 count=1 iflag=fullblock 2>/dev/null'),
        'kept\ndisk',
      );
      const disks = (await daemon.ok('GET', '/isle/v1/disks')).json<{ Id: string }[]>();
      assert.deepEqual(
        disks.map(({ Id }) => Id),
        ['deb-vda'],
        'no half-made clone stays',
      );
    });
});

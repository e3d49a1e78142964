import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { MachineConsole } from '../fixtures/machine-console.ts';
import { tinyMachine } from '../fixtures/tiny-machine.ts';

/** Down to the file: `sync` alone does not flush what is below a device. */
const write = (word: string, disk = 'vda') => `echo ${word} | dd of=/dev/${disk} conv=fsync 2>/dev/null`;

describe('machines as they were', { concurrency: false }, () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon({ busybox: false });
  });
  after(async () => await daemon.close());
  const post = (path: string, body?: object) => daemon.ok('POST', `/isle/v1/machines/${path}`, body);
  const create = (machine: object) => daemon.ok('POST', '/isle/v1/machines', machine);
  const disk = { Source: { Kind: 'empty', Size: 64 * 2 ** 20 } };
  const start = (name: string) => daemon.ok('POST', `/containers/${name}/start`);
  const kill = (name: string) => daemon.ok('POST', `/containers/${name}/kill`);

  test('a guest goes on from its memory: saved, in a snapshot, also after the daemon was killed', async () => {
    const subnet = `10.${213 + Math.floor(Math.random() * 20)}.7.0/24`;
    await daemon.ok('POST', '/networks/create', { Name: 'own', IPAM: { Config: [{ Subnet: subnet }] } });
    const Container = { HostConfig: { NetworkMode: 'own' } };
    await create(tinyMachine('deb', { Container, Disks: [disk, disk] }));
    await start('deb');
    let address = '';
    {
      using console = new MachineConsole(daemon.socket, 'deb');
      await console.booted();
      await console.run(`${write('first')}; ${write('other', 'vdb')}; word=kept`);
      address = await console.run(
        'until ip -4 -o addr show dev eth0 | grep -q inet; do sleep 1; done; ip -4 -o addr show dev eth0',
      );
      const taken = (await post('deb/snapshots', { Name: 'one', Memory: true })).json<{
        Memory: boolean;
        PausedMs: number;
      }>();
      assert.ok(taken.Memory && taken.PausedMs > 0);
      const bare = (await post('deb/snapshots', { Name: 'two' })).json<{
        Parent: string;
        PausedMs: number;
      }>();
      assert.equal(bare.Parent, 'one');
      await console.run(`${write('later')}; word=lost`);
    }
    await daemon.kill9();
    await daemon.start();
    assert.equal((await daemon.call('POST', '/isle/v1/machines/deb/snapshots/one/revert', {})).status, 409);
    await post('deb/snapshots/one/revert', { Force: true });
    {
      using console = new MachineConsole(daemon.socket, 'deb');
      assert.equal(
        await console.run('echo $word; head -c 5 /dev/vda; echo; head -c 5 /dev/vdb'),
        'kept\nfirst\nother',
      );
      assert.equal(await console.run('ip -4 -o addr show dev eth0'), address);
    }
    await post('deb/save');
    const shown = (await daemon.ok('GET', '/isle/v1/machines/deb')).json<{ Saved: boolean; State: string }>();
    assert.deepEqual([shown.Saved, shown.State], [true, 'exited']);
    await daemon.kill9();
    await daemon.start();
    await start('deb');
    {
      using console = new MachineConsole(daemon.socket, 'deb');
      assert.equal(await console.run('echo $word'), 'kept');
      // Its neighbours may have other addresses by now, which it finds out.
      const router = '$(ip route | sed -n "s/default via \\([^ ]*\\).*/\\1/p")';
      const pings = `for try in 1 2 3 4 5 6 7 8 9; do ping -c 1 -W 5 ${router} >/dev/null && echo there && break; sleep 1; done`;
      assert.equal(await console.run(pings), 'there');
      await console.run(write('again'));
    }
    await kill('deb');
    await post('deb/snapshots/two/revert', { Start: true });
    {
      using console = new MachineConsole(daemon.socket, 'deb');
      await console.booted(2);
      assert.equal(await console.run('head -c 5 /dev/vda'), 'first');
    }
    await daemon.ok('DELETE', '/isle/v1/machines/deb/snapshots/one');
    const [only] = (await daemon.ok('GET', '/isle/v1/machines/deb/snapshots')).json<
      Record<string, unknown>[]
    >();
    assert.deepEqual([only?.Name, only?.Parent, only?.Current], ['two', undefined, true]);
  });

  test('a running machine is cloned, linked and in full; both go their own ways', async () => {
    await daemon.ok('DELETE', '/isle/v1/machines/deb?force=1&disks=1');
    await create(tinyMachine('src', { Disks: [disk] }));
    await start('src');
    using console = new MachineConsole(daemon.socket, 'src');
    await console.booted();
    await console.run(write('shared'));
    await post('src/snapshots', { Name: 'before' });
    await post('src/clone', { Name: 'twin', Linked: true });
    await console.run(write('source'));
    await post('src/clone', { Name: 'copy' });
    await kill('src');
    for (const [name, holds] of [
      ['twin', 'shared'],
      ['copy', 'source'],
    ] as const) {
      await start(name);
      using clone = new MachineConsole(daemon.socket, name);
      await clone.booted();
      assert.equal(await clone.run('head -c 6 /dev/vda'), holds);
      await clone.run(write('clone!'));
      await kill(name);
    }
    await post('src/snapshots/before/revert', { Start: true });
    using again = new MachineConsole(daemon.socket, 'src');
    await again.booted(2);
    assert.equal(await again.run('head -c 6 /dev/vda'), 'shared');
    const refused = await daemon.call('DELETE', '/isle/v1/machines/src?force=1&disks=1');
    assert.equal(refused.status, 409, refused.text);
    await daemon.ok('DELETE', '/isle/v1/machines/twin?force=1&disks=1');
    await daemon.ok('DELETE', '/isle/v1/machines/src?force=1&disks=1');
  });
});

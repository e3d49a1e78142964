import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isIsleError } from '../../src/lib/errors.ts';
import {
  removeSnapshot,
  revertSnapshot,
  takeSnapshot,
} from '../../src/runtimes/machine/control/snapshots.ts';
import { HandMadeMachine } from '../fixtures/live-machine.ts';

const disksOnly = { memory: false, quiesce: false };
const withMemory = { memory: true, quiesce: false };

describe('snapshots of a running QEMU', { concurrency: false }, () => {
  test('a guest goes on from a snapshot with memory, disks and all', async () => {
    await using machine = new HandMadeMachine({ disks: [{}, {}] });
    await machine.booted();
    await machine.shell('echo first >/dev/vda; echo other >/dev/vdb; sync; word=kept');
    const { pausedMs } = await takeSnapshot(machine, 'one', withMemory);
    assert.ok(pausedMs > 0);
    await machine.shell('echo later >/dev/vda; sync; word=lost');
    const qmp = await machine.qmp();
    await takeSnapshot(machine, 'disks', disksOnly);
    assert.deepEqual(machine.snapshots(0), ['one', 'disks']);
    assert.deepEqual(machine.snapshots(1), ['one', 'disks']);
    await revertSnapshot(machine, 'one');
    assert.equal((await qmp.execute<{ running: boolean }>('query-status')).running, true);
    assert.equal(
      await machine.shell('echo $word; head -c 5 /dev/vda; echo; head -c 5 /dev/vdb'),
      'kept\nfirst\nother',
    );
    await assert.rejects(revertSnapshot(machine, 'disks'), /has no memory/);
    await assert.rejects(revertSnapshot(machine, 'none'), /is not in disk-vda/);
    await assert.rejects(takeSnapshot(machine, 'one', disksOnly), /already/);
    await removeSnapshot(machine, 'one');
    await removeSnapshot(machine, 'one');
    assert.deepEqual(machine.snapshots(1), ['disks']);
  });

  test('what cannot be in a snapshot is named, and no disk has half of one', async () => {
    await using machine = new HandMadeMachine({
      boots: false,
      disks: [{}, { format: 'raw' }, { format: 'raw', readOnly: true }],
    });
    const refused = (error: unknown) =>
      isIsleError(error, 'conflict') && /disk vdb cannot be in a snapshot: raw/.test(error.message);
    await assert.rejects(takeSnapshot(machine, 'one', disksOnly), refused);
    await assert.rejects(takeSnapshot(machine, 'one', withMemory), refused);
    assert.deepEqual(machine.snapshots(0), []);
    await removeSnapshot(machine, 'one');
    machine.hardware.spec.disks.splice(1);
    machine.hardware.spec.shares.push({ source: '/srv', tag: 'srv', readOnly: false });
    await assert.rejects(takeSnapshot(machine, 'one', withMemory), /the state of its share srv is outside/);
    await takeSnapshot(machine, 'one', disksOnly);
    assert.deepEqual(machine.snapshots(0), ['one']);
  });

  test('several disks have it all or none: a name that one of them has is refused by all', async () => {
    await using machine = new HandMadeMachine({ boots: false, disks: [{}, {}] });
    const qmp = await machine.qmp();
    await qmp.execute('blockdev-snapshot-internal-sync', { device: 'disk-vdb', name: 'one' });
    await assert.rejects(takeSnapshot(machine, 'one', disksOnly), /disk-vdb already/);
    assert.deepEqual(machine.snapshots(0), []);
  });
});

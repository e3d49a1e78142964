import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pivotDisks } from '../../src/runtimes/machine/control/pivot.ts';
import { takeSnapshot } from '../../src/runtimes/machine/control/snapshots.ts';
import { HandMadeMachine } from '../fixtures/live-machine.ts';

function overlayOver(machine: HandMadeMachine, target: string) {
  const { disks, spec } = machine.hardware;
  const present = disks[spec.disks.findIndex((disk) => disk.target === target)]!;
  const path = join(machine.directory, `${target}-over.qcow2`);
  execFileSync('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-u',
    '-b',
    '/nowhere',
    '-F',
    'qcow2',
    path,
    '1G',
  ]);
  return { target, path, chain: [present.path, ...present.chain] };
}

function contentOf(path: string, chain: string[] = []): string {
  const node = (files: string[]): object | null =>
    files[0] === undefined
      ? null
      : {
          driver: 'qcow2',
          file: { driver: 'file', filename: files[0], locking: 'off' },
          backing: node(files.slice(1)),
        };
  const out = `${path}.raw`;
  const source = `json:${JSON.stringify(node([path, ...chain]))}`;
  execFileSync('qemu-img', ['dd', '-U', 'bs=512', 'count=1', '-O', 'raw', `if=${source}`, `of=${out}`]);
  const dump = readFileSync(out, 'latin1');
  return dump.slice(0, dump.indexOf('\n'));
}

/** Down to the file: `sync` alone does not flush what is below a device. */
const write = (word: string) => `echo ${word} | dd of=/dev/vda conv=fsync 2>/dev/null`;

test('disks of a running guest go on in overlays, all at one moment or none', async () => {
  await using machine = new HandMadeMachine({ disks: [{}, {}] });
  await machine.booted();
  await machine.shell(`${write('base')}; echo other >/dev/vdb`);
  const [first, second] = machine.hardware.disks.map(({ path }) => path) as [string, string];
  const overlays = [overlayOver(machine, 'vda'), overlayOver(machine, 'vdb')];
  const broken = [overlays[0]!, { ...overlays[1]!, path: join(machine.directory, 'missing.qcow2') }];
  await assert.rejects(pivotDisks(machine, broken), { code: 'guestFailed' });
  await machine.shell(write('stays'));
  await pivotDisks(machine, overlays);
  assert.deepEqual(machine.hardware.disks, [
    { path: overlays[0]!.path, chain: [first] },
    { path: overlays[1]!.path, chain: [second] },
  ]);
  assert.equal(await machine.shell('head -c 5 /dev/vda'), 'stays');
  await machine.shell(write('above'));
  assert.equal(contentOf(first), 'stays');
  assert.equal(contentOf(overlays[0]!.path, [first]), 'above');
  // The nodes have the names they had.
  await takeSnapshot(machine, 'one', { memory: true, quiesce: false });
  assert.deepEqual(machine.snapshots(0), ['one']);
});

test('what a daemon did not live to finish is finished by the next one, at every step', async () => {
  await using machine = new HandMadeMachine({ disks: [{}] });
  await machine.booted();
  await machine.shell(write('base'));
  const overlay = overlayOver(machine, 'vda');
  const qmp = await machine.qmp();
  const interrupted = [
    ['stop', {}],
    ['blockdev-add', { driver: 'null-co', 'node-name': 'hold-vda', size: 2 ** 30, 'read-zeroes': true }],
    ['qom-set', { path: '/machine/peripheral/vda', property: 'drive', value: 'hold-vda' }],
    ['blockdev-del', { 'node-name': 'disk-vda' }],
    ['blockdev-del', { 'node-name': 'file-vda' }],
  ] as const;
  for (const [command, args] of interrupted) await qmp.execute(command, args);
  await pivotDisks(machine, [overlay]);
  await pivotDisks(machine, [overlay]);
  await qmp.execute('cont');
  assert.equal(await machine.shell('head -c 4 /dev/vda'), 'base');
  await machine.shell(write('next'));
  assert.equal(contentOf(overlay.path, overlay.chain), 'next');
  assert.equal(contentOf(overlay.chain[0]!), 'base');
});

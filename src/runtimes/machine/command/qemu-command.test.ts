import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MachineDisk, MachineHardware, MachineSpec } from '../../../engine/machine.ts';
import { isIsleError } from '../../../lib/errors.ts';
import { type QemuCommand, qemuCommand } from './qemu-command.ts';
import { plainDisk, plainHardware } from '../../../../test/fixtures/machine-hardware.ts';

const mib = 1024 * 1024;

const spec: MachineSpec = {
  ...plainHardware(),
  memory: 512 * mib,
  vcpus: 2,
  disks: [],
  uuid: 'b7a2c0de-0000-4000-8000-000000000001',
  snapshots: [],
};

const disk: MachineDisk = {
  target: 'vda',
  format: 'qcow2',
  ...plainDisk(),
};

const file = { path: '/disk', chain: [] };

function commandOf(
  changes: Partial<MachineSpec>,
  more: Partial<QemuCommand> = {},
  hardware: Partial<MachineHardware> = {},
): string[] {
  return qemuCommand({
    qemu: '/usr/bin/qemu',
    accelerator: 'tcg',
    hardware: {
      spec: { ...spec, ...changes },
      directory: '/machine',
      disks: (changes.disks ?? []).map(() => file),
      ...hardware,
    },
    links: [],
    helpers: [],
    visible: (path) => `/seen${path}`,
    generation: 1,
    incoming: false,
    passed: [],
    ...more,
  });
}

/** What follows each `option`. */
function given(args: string[], option: string): string[] {
  return args.flatMap((arg, index) => (arg === option ? [args[index + 1]!] : []));
}

function objects(args: string[], option: string): Record<string, unknown>[] {
  return given(args, option).flatMap((text) =>
    text.startsWith('{') ? [JSON.parse(text) as Record<string, unknown>] : [],
  );
}

test('it is forbidden to start programs and to change itself, and reads no configuration', () => {
  const args = commandOf({});
  assert.deepEqual(given(args, '-sandbox'), [
    'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
  ]);
  assert.ok(args.includes('-nodefaults') && args.includes('-no-user-config'));
  assert.match(given(args, '-accel')[0]!, /tb-size=20\b/);
  // Those that are plugged in later need room for their code.
  assert.match(given(commandOf({ maxVcpus: 4 }), '-accel')[0]!, /tb-size=256\b/);
  assert.match(given(commandOf({ maxVcpus: 64 }), '-accel')[0]!, /tb-size=1024\b/);
});

test('the format of a disk and of every file below it is said, and the last stands on nothing', () => {
  const chain = ['/base/disk.qcow2', '/older/disk.raw'];
  const args = commandOf({ disks: [disk] }, {}, { disks: [{ path: '/top', chain }] });
  const node = objects(args, '-blockdev').find((each) => each['node-name'] === 'disk-vda')!;
  const backing = node.backing as Record<string, Record<string, unknown>>;
  assert.equal(node.driver, 'qcow2');
  assert.deepEqual([backing.driver, backing.file?.filename], ['qcow2', '/seen/base/disk.qcow2']);
  assert.deepEqual([backing.backing?.driver, backing.backing?.['read-only']], ['raw', true]);
  const alone = objects(commandOf({ disks: [disk] }), '-blockdev').find(
    (each) => each['node-name'] === 'disk-vda',
  );
  assert.equal(alone?.backing, null);
});

test('what a user wrote is never part of an option', () => {
  const evil = 'a,id=b,path=/etc/shadow';
  const args = commandOf({
    disks: [{ ...disk, serial: evil, path: evil }],
    cdroms: [{ target: 'sda', path: `/${evil}` }],
    kernel: { path: `/${evil}`, arguments: `-monitor ${evil}` },
  });
  for (const option of ['-device', '-blockdev'])
    for (const text of given(args, option)) assert.doesNotThrow(() => JSON.parse(text), text);
  assert.deepEqual(given(args, '-append'), [`-monitor ${evil}`]);
  assert.deepEqual(given(args, '-monitor'), []);
});

test('each device of a q35 is behind a port of its own, and eight ports are free', () => {
  const disks = Array.from({ length: 12 }, (_, index) => ({
    ...disk,
    target: `vd${String.fromCharCode(97 + index)}`,
  }));
  const devices = objects(commandOf({ disks }), '-device');
  const ports = devices.filter(({ driver }) => driver === 'pcie-root-port').map(({ id }) => id);
  const taken = devices.map(({ bus }) => bus).filter((bus) => ports.includes(bus));
  assert.equal(new Set(taken).size, taken.length);
  assert.equal(ports.length - taken.length, 8);
  const places = devices.filter(({ driver }) => driver === 'pcie-root-port').map(({ addr }) => addr);
  assert.equal(new Set(places).size, places.length);
});

test('taps and helpers are descriptors, in the order in which the supervisor opens them', () => {
  const link = { name: 'eth0', tap: 'isle0', macAddress: '02:00:00:00:00:01', model: 'virtio' };
  const helpers = [{ name: 'tpm', user: 1, args: [] }];
  const args = commandOf(
    { tpm: true },
    {
      helpers,
      links: [
        { ...link, index: 0 },
        { ...link, index: 3, tap: 'isle3' },
      ],
    },
  );
  assert.ok(given(args, '-chardev').includes('socket,id=tpm,fd=4'));
  assert.deepEqual(
    objects(args, '-netdev').map(({ id, fd }) => [id, fd]),
    [
      ['tap0', '5'],
      ['tap3', '6'],
    ],
  );
});

test('a card that there is not is refused by name', () => {
  const link = { index: 0, name: 'eth0', tap: 'isle0', macAddress: '02:00:00:00:00:01', model: 'nosuch' };
  assert.throws(
    () => commandOf({}, { links: [link] }),
    (error) => isIsleError(error, 'invalidParameter') && String(error).includes('"nosuch"'),
  );
});

test('a guest that moves in waits, and one with a snapshot stands still at first', () => {
  assert.deepEqual(given(commandOf({}, { incoming: true }), '-incoming'), ['defer']);
  assert.ok(commandOf({}, {}, { restoreFrom: { snapshot: 'one' } }).includes('-S'));
});

test('shared directories need memory that virtiofsd can map, and nothing else does', () => {
  const shares = [{ source: '/srv', tag: 'srv', readOnly: true }];
  assert.match(given(commandOf({ shares }), '-object').join(), /memory-backend-memfd,.*share=on/);
  assert.match(given(commandOf({}), '-object').join(), /memory-backend-ram/);
});

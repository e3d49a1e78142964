import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isIsleError } from '../../lib/errors.ts';
import { passedDevices } from './passthrough.ts';

let root: string;

/** A host with a graphics card of two functions in a group with a bridge, a network card, a device without a group, and a USB stick. */
before(() => {
  root = mkdtempSync(join(tmpdir(), 'isle-sys-'));
  pci('0000:01:00.0', { group: '7', driver: 'vfio-pci' });
  pci('0000:01:00.1', { group: '7', driver: 'vfio-pci' });
  pci('0000:00:01.0', { group: '7', driver: 'pcieport', class: '0x060400' });
  pci('0000:02:00.0', { group: '8', driver: 'e1000e' });
  pci('0000:03:00.0', {});
  const stick = join(root, 'sys/bus/usb/devices/1-2');
  mkdirSync(stick, { recursive: true });
  for (const [name, value] of [
    ['idVendor', '0951'],
    ['idProduct', '1666'],
    ['busnum', '1'],
    ['devnum', '12'],
  ])
    writeFileSync(join(stick, name!), `${value}\n`);
});
after(() => rmSync(root, { recursive: true }));

function pci(
  address: string,
  { group, driver, class: code }: { group?: string; driver?: string; class?: string },
): void {
  const device = join(root, 'sys/bus/pci/devices', address);
  mkdirSync(device, { recursive: true });
  writeFileSync(join(device, 'class'), `${code ?? '0x020000'}\n`);
  if (driver) symlinkSync(`../../drivers/${driver}`, join(device, 'driver'));
  if (!group) return;
  const directory = join(root, 'sys/kernel/iommu_groups', group);
  mkdirSync(join(directory, 'devices', address), { recursive: true });
  symlinkSync(directory, join(device, 'iommu_group'));
}

const refused = (pciAddresses: string[], message: RegExp) =>
  assert.rejects(
    passedDevices({ usb: [], pci: pciAddresses }, root),
    (error) => isIsleError(error, 'invalidParameter') && message.test(String(error)),
  );

test('a whole IOMMU group is passed on, its bridge excepted', async () => {
  const found = await passedDevices({ usb: [], pci: ['0000:01:00.0', '0000:01:00.1'] }, root);
  assert.deepEqual(found.devices, ['/dev/vfio/vfio', '/dev/vfio/7']);
  assert.deepEqual(
    found.nodes.map(({ host }) => host),
    ['0000:01:00.0', '0000:01:00.1'],
  );
  assert.equal(found.locksMemory, true);
});

test('a part of a group is refused, naming what would stay with the host', async () => {
  await refused(['0000:01:00.0'], /group 7 with 0000:01:00\.1/);
});

test('a device that a driver of the host has, or that is in no group, or is not there, is refused', async () => {
  await refused(['0000:02:00.0'], /host's driver e1000e: bind it to vfio-pci/);
  await refused(['0000:03:00.0'], /no IOMMU group/);
  await refused(['0000:09:00.0'], /is not there/);
});

test('a USB device is found by what it is', async () => {
  const { devices, nodes } = await passedDevices(
    { usb: [{ vendor: 0x0951, product: 0x1666 }], pci: [] },
    root,
  );
  assert.deepEqual(devices, ['/dev/bus/usb/001/012']);
  assert.equal(nodes[0]?.hostdevice, '/dev/bus/usb/001/012');
  await assert.rejects(passedDevices({ usb: [{ vendor: 1, product: 2 }], pci: [] }, root), /0001:0002/);
});

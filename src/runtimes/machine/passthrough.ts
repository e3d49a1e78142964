import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { MachineSpec } from '../../engine/machine.ts';
import type { WorkloadMount } from '../../engine/runtime.ts';
import { isleError } from '../../lib/errors.ts';
import type { Node } from './command/blocks.ts';

/** Devices of the host that a machine gets: what QEMU is told, and what its confinement must have for it. */
export interface PassedDevices {
  nodes: Node[];
  /** Device files. */
  devices: string[];
  mounts: WorkloadMount[];
  /** The host's IOMMU holds the guest's memory where it is. */
  locksMemory: boolean;
}

/**
 * Looks for them. Throws `invalidParameter` for a device that is not there, that belongs to a group of which another device would
 * stay with the host, or that a driver of the host has.
 *
 * @param root where /sys and /dev are looked for; for tests.
 */
export async function passedDevices(
  { usb, pci }: Pick<MachineSpec, 'usb' | 'pci'>,
  root = '',
): Promise<PassedDevices> {
  const found: PassedDevices = { nodes: [], devices: [], mounts: [], locksMemory: pci.length > 0 };
  for (const [index, device] of usb.entries()) {
    const path = await usbPath(root, device);
    found.devices.push(path);
    found.nodes.push({ driver: 'usb-host', id: `usb${index}`, bus: 'usb.0', hostdevice: path });
  }
  if (pci.length === 0) return found;
  const groups = new Set<string>();
  for (const [index, address] of pci.entries()) {
    groups.add(await checkedGroup(root, address, pci));
    found.nodes.push({ driver: 'vfio-pci', id: `pci${index}`, host: address });
  }
  found.devices.push('/dev/vfio/vfio', ...[...groups].map((group) => `/dev/vfio/${group}`));
  // QEMU finds a device's group there.
  for (const path of ['/sys/bus/pci', '/sys/devices', '/sys/kernel/iommu_groups'])
    found.mounts.push({
      type: 'bind',
      source: path,
      target: path,
      readOnly: true,
      options: ['nosuid', 'nodev', 'noexec'],
    });
  return found;
}

async function usbPath(root: string, { vendor, product }: MachineSpec['usb'][number]): Promise<string> {
  const base = `${root}/sys/bus/usb/devices`;
  const wanted = [hex(vendor), hex(product)];
  for (const name of await readdir(base).catch((): string[] => [])) {
    const read = async (file: string) =>
      (await readFile(join(base, name, file), 'utf8').catch(() => '')).trim();
    const ids = await Promise.all(['idVendor', 'idProduct'].map(read));
    if (ids.join() !== wanted.join()) continue;
    const [bus, device] = await Promise.all(['busnum', 'devnum'].map(read));
    return `/dev/bus/usb/${bus?.padStart(3, '0')}/${device?.padStart(3, '0')}`;
  }
  throw isleError('invalidParameter', {
    message: `no USB device ${wanted.join(':')} is plugged into this host (see lsusb)`,
  });
}

async function checkedGroup(root: string, address: string, given: string[]): Promise<string> {
  const base = `${root}/sys/bus/pci/devices`;
  const refuse = (why: string) =>
    isleError('invalidParameter', { message: `the PCI device ${address} ${why}` });
  const driver = await linkName(join(base, address, 'driver'));
  if (!(await readdir(join(base, address)).catch(() => undefined)))
    throw refuse('is not there (see lspci -D)');
  const group = await linkName(join(base, address, 'iommu_group'));
  if (group === undefined)
    throw refuse(
      'is in no IOMMU group: this host has no IOMMU, or it is switched off (intel_iommu=on, or in the BIOS)',
    );
  const others = await readdir(join(base, address, 'iommu_group/devices'));
  for (const other of others) {
    if (given.includes(other) || (await isBridge(join(base, other)))) continue;
    throw refuse(
      `shares the IOMMU group ${group} with ${other}, which would stay with the host: pass on all of the group (${others.join(', ')}), or none`,
    );
  }
  if (driver !== 'vfio-pci')
    throw refuse(
      `belongs to ${driver === undefined ? 'no driver' : `the host's driver ${driver}`}: bind it to vfio-pci first (driverctl set-override ${address} vfio-pci)`,
    );
  return group;
}

/** Bridges of a group stay where they are. */
async function isBridge(device: string): Promise<boolean> {
  const code = await readFile(join(device, 'class'), 'utf8').catch(() => '');
  return code.startsWith('0x0604');
}

async function linkName(path: string): Promise<string | undefined> {
  return await readlink(path).then(basename, () => undefined);
}

function hex(number: number): string {
  return number.toString(16).padStart(4, '0');
}

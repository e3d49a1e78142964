import type { MachineDisk, MachineSpec } from '../../../engine/machine.ts';
import { isleError } from '../../../lib/errors.ts';
import type { Node } from './blocks.ts';
import type { Slots } from './slots.ts';

/** `boot`: by its place in the boot order, from 1. */
export function diskDevice(disk: MachineDisk, slots: Slots, boot: number | undefined): Node {
  const { target } = disk;
  const common = {
    id: target,
    drive: `disk-${target}`,
    ...(boot === undefined ? {} : { bootindex: boot }),
    ...(disk.serial === undefined ? {} : { serial: disk.serial }),
  };
  const cached = { 'write-cache': disk.cache === 'writethrough' ? 'off' : 'on' };
  switch (disk.bus) {
    case 'virtio':
      return { ...slots.virtio('virtio-blk', target), ...common, ...cached };
    case 'scsi':
      return { driver: 'scsi-hd', ...slots.scsi(disk.controller), ...common, ...cached };
    case 'sata':
      return { driver: 'ide-hd', ...slots.sata(), ...common, ...cached };
    case 'ide':
      return { driver: 'ide-hd', ...slots.ide(), ...common, ...cached };
    case 'nvme':
      return { driver: 'nvme', bus: slots.port(target), ...common, serial: disk.serial ?? target };
  }
}

/** A drive whose medium, if there is one, is the node of its name. A machine without CD drives shows it as a disk. */
export function cdDevice(
  target: string,
  loaded: boolean,
  type: MachineSpec['type'],
  slots: Slots,
  boot: number | undefined,
): Node {
  const common = {
    id: target,
    ...(loaded ? { drive: target } : {}),
    ...(boot === undefined ? {} : { bootindex: boot }),
  };
  if (type === 'q35') return { driver: 'ide-cd', ...slots.sata(), ...common };
  if (type === 'virt') return { driver: 'scsi-cd', ...slots.scsi(), ...common };
  if (!loaded)
    throw isleError('invalidParameter', {
      message: `a machine of type microvm has no CD drive: ${target} cannot be empty (take q35)`,
    });
  return { driver: 'virtio-blk-device', ...common };
}

/** QEMU's models by the names that are said; those of a guest that has no drivers for virtio. */
const nicModels = ['e1000', 'e1000e', 'rtl8139', 'vmxnet3', 'pcnet', 'ne2k_pci', 'i82551', 'i82559c', 'igb'];

/** Throws `invalidParameter` for a model that there is not. */
export function nicDevice(
  { index, macAddress, model, mtu }: { index: number; macAddress: string; model: string; mtu?: number },
  slots: Pick<Slots, 'virtio' | 'port'>,
  boot: number | undefined,
): Node {
  const common = {
    id: `net${index}`,
    netdev: `tap${index}`,
    mac: macAddress,
    ...(boot === undefined ? {} : { bootindex: boot }),
  };
  // Most systems leave the MTU that DHCP tells them alone.
  const size = mtu === undefined || mtu === 1500 ? {} : { host_mtu: mtu };
  if (model === 'virtio') return { ...slots.virtio('virtio-net', `net${index}`), ...common, ...size };
  if (!nicModels.includes(model))
    throw isleError('invalidParameter', {
      message: `there is no network card "${model}": there are virtio, ${nicModels.join(', ')}`,
    });
  return { driver: model, bus: slots.port(`net${index}`), ...common };
}

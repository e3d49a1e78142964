import { macOf, memoryOf, vcpusOf } from './bounds.ts';
import { nicModel, scsiController } from './hardware-words.ts';
import { unitOf } from './ovf-envelope.ts';
import type { ApplianceMachine } from '../appliances.ts';
import type { Xml } from './xml.ts';

/** What the Items of a VirtualHardwareSection say (CIM_ResourceAllocationSettingData). */
export interface OvfHardware {
  memory: number;
  vcpus: number;
  disks: OvfDrive[];
  nics: ApplianceMachine['nics'];
  tpm: boolean;
  warnings: string[];
}

export interface OvfDrive {
  name: string;
  bus: ApplianceMachine['disks'][number]['bus'];
  controller?: string;
  cdrom: boolean;
  /** `disk` or `file`, and its id. */
  resource?: { kind: 'disk' | 'file'; id: string };
}

interface Item {
  type: number;
  id: string;
  parent: string;
  position: number;
  value(name: string): string | undefined;
}

export function readHardware(section: Xml, where: string): OvfHardware {
  const items = ['Item', 'StorageItem', 'EthernetPortItem']
    .flatMap((name) => section.children(name))
    .map(itemOf);
  const warnings: string[] = [];
  const cpu = items.find((item) => item.type === types.processor);
  const memory = items.find((item) => item.type === types.memory);
  if (!memory) warnings.push('it does not say how much memory it has: 1 GiB is taken');
  return {
    vcpus: vcpusOf(cpu?.value('VirtualQuantity') ?? '1', where),
    memory: memory
      ? memoryOf(
          memory.value('VirtualQuantity') ?? '',
          unitOf(memory.value('AllocationUnits'), 2 ** 20, where),
          where,
        )
      : 2 ** 30,
    disks: drivesOf(items),
    nics: items.filter((item) => item.type === types.ethernet).map(nicOf),
    tpm: items.some((item) => /vtpm/i.test(item.value('ResourceSubType') ?? '')),
    warnings,
  };
}

const types = {
  processor: 3,
  memory: 4,
  ide: 5,
  scsi: 6,
  ethernet: 10,
  cdrom: 15,
  dvd: 16,
  disk: 17,
  storage: 20,
};

function itemOf(element: Xml): Item {
  const value = (name: string): string | undefined => element.value(name);
  return {
    type: Number(value('ResourceType') ?? -1),
    id: value('InstanceID') ?? value('InstanceId') ?? '',
    parent: value('Parent') ?? '',
    position: Number(value('AddressOnParent') ?? 0) || 0,
    value,
  };
}

/** In the order of their controllers and places there, which is the order that the guest's firmware finds them in. */
function drivesOf(items: Item[]): OvfDrive[] {
  const controllers = items.filter((item) => [types.ide, types.scsi, types.storage].includes(item.type));
  const rank = (item: Item): number => {
    const index = controllers.findIndex((controller) => controller.id === item.parent);
    return (index < 0 ? controllers.length : index) * 1000 + Math.min(item.position, 999);
  };
  return items
    .filter((item) => [types.disk, types.cdrom, types.dvd].includes(item.type))
    .toSorted((a, b) => rank(a) - rank(b))
    .map((item) =>
      driveOf(
        item,
        controllers.find((controller) => controller.id === item.parent),
      ),
    );
}

function driveOf(item: Item, controller: Item | undefined): OvfDrive {
  const cdrom = item.type !== types.disk;
  const resource = /^(?:ovf:)?\/(disk|file)\/(.+)$/.exec(item.value('HostResource') ?? '');
  return {
    name: item.value('ElementName') ?? item.value('Caption') ?? (cdrom ? 'CD' : 'disk'),
    ...busOf(controller),
    cdrom,
    ...(resource && { resource: { kind: resource[1] as 'disk' | 'file', id: resource[2]! } }),
  };
}

function busOf(controller: Item | undefined): Pick<OvfDrive, 'bus' | 'controller'> {
  const subtype = controller?.value('ResourceSubType');
  switch (controller?.type) {
    case types.scsi:
      if (/virtio/i.test(subtype ?? '')) return { bus: 'virtio' };
      return { bus: 'scsi', controller: scsiController(subtype) ?? 'lsilogic' };
    case types.storage:
      if (/nvme/i.test(subtype ?? '')) return { bus: 'nvme' };
      return /virtio/i.test(subtype ?? '') ? { bus: 'virtio' } : { bus: 'sata' };
    case types.ide:
      return { bus: 'ide' };
    default:
      return { bus: 'sata' };
  }
}

function nicOf(item: Item): ApplianceMachine['nics'][number] {
  return {
    macAddress: macOf(item.value('Address')),
    model: nicModel(item.value('ResourceSubType')?.split(/[\s,]/)[0]),
    network: item.value('Connection'),
  };
}

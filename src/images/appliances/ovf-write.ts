import type { ApplianceMachine } from '../appliances.ts';
import { element, type XmlNode } from './xml-write.ts';

export interface OvfFile {
  name: string;
  /** bytes */
  size: number;
  /** bytes that the guest sees */
  capacity: number;
}

/**
 * The descriptor of an OVF 1.0 package (DSP0243) in the words that both VirtualBox and VMware take: `files` are stream-optimised
 * VMDKs, parallel to the machine's disks without CD drives.
 */
export function ovfDescriptor(machine: ApplianceMachine, files: OvfFile[]): string {
  const root = element(
    'Envelope',
    {
      'ovf:version': '1.0',
      'xml:lang': 'en-US',
      xmlns: envelope,
      'xmlns:ovf': envelope,
      'xmlns:rasd': `${cim}/CIM_ResourceAllocationSettingData`,
      'xmlns:vssd': `${cim}/CIM_VirtualSystemSettingData`,
      'xmlns:xsi': 'http://www.w3.org/2001/XMLSchema-instance',
      'xmlns:vmw': 'http://www.vmware.com/schema/ovf',
      'xmlns:vbox': 'http://www.virtualbox.org/ovf/machine',
    },
    references(files),
    diskSection(files),
    networkSection(machine),
    virtualSystem(machine),
  );
  return `<?xml version="1.0" encoding="UTF-8"?>\n${root.text('')}\n`;
}

const envelope = 'http://schemas.dmtf.org/ovf/envelope/1';
const cim = 'http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2';
const streamOptimized = 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized';

function references(files: OvfFile[]): XmlNode {
  const file = ({ name, size }: OvfFile, index: number): XmlNode =>
    element('File', { 'ovf:href': name, 'ovf:id': `file${index + 1}`, 'ovf:size': String(size) });
  return element('References', {}, ...files.map(file));
}

function diskSection(files: OvfFile[]): XmlNode {
  const disk = ({ capacity }: OvfFile, index: number): XmlNode =>
    element('Disk', {
      'ovf:capacity': String(capacity),
      'ovf:capacityAllocationUnits': 'byte',
      'ovf:diskId': `vmdisk${index + 1}`,
      'ovf:fileRef': `file${index + 1}`,
      'ovf:format': streamOptimized,
    });
  return element('DiskSection', {}, info('Virtual disks'), ...files.map(disk));
}

function networkSection(machine: ApplianceMachine): XmlNode {
  const names = [...new Set(machine.nics.map(networkOf))];
  const network = (name: string): XmlNode =>
    element('Network', { 'ovf:name': name }, element('Description', {}, `The ${name} network`));
  return element('NetworkSection', {}, info('Networks'), ...names.map(network));
}

function virtualSystem(machine: ApplianceMachine): XmlNode {
  return element(
    'VirtualSystem',
    { 'ovf:id': machine.name },
    info('A virtual machine'),
    element('Name', {}, machine.name),
    ...(machine.description
      ? [
          element(
            'AnnotationSection',
            {},
            info('A description'),
            element('Annotation', {}, machine.description),
          ),
        ]
      : []),
    operatingSystem(machine),
    hardware(machine),
  );
}

/** CIM_OperatingSystem's numbers: 101 is "Linux 64-Bit", 96 "Debian 64-Bit", 94 "Ubuntu 64-Bit", 1 "Other". */
function operatingSystem({ os }: ApplianceMachine): XmlNode {
  const text = os?.variant ?? os?.text ?? '';
  const [id, vmware, vbox] = systems.find(([pattern]) => pattern.test(text))?.slice(1) ?? [
    '101',
    'otherLinux64Guest',
    'Linux26_64',
  ];
  return element(
    'OperatingSystemSection',
    { 'ovf:id': String(id), 'vmw:osType': String(vmware) },
    info('The kind of installed guest operating system'),
    element('Description', {}, text === '' ? 'Linux' : text),
    element('vbox:OSType', { 'ovf:required': 'false' }, String(vbox)),
  );
}

const systems: [RegExp, string, string, string][] = [
  [/debian/i, '96', 'debian10_64Guest', 'Debian_64'],
  [/ubuntu/i, '94', 'ubuntu64Guest', 'Ubuntu_64'],
  [/rhel|redhat|red hat/i, '80', 'rhel7_64Guest', 'RedHat_64'],
  [/centos|alma|rocky/i, '107', 'centos64Guest', 'RedHat_64'],
  [/fedora/i, '101', 'fedora64Guest', 'Fedora_64'],
  [/win11/i, '1', 'windows9_64Guest', 'Windows11_64'],
  [/win10/i, '1', 'windows9_64Guest', 'Windows10_64'],
  [/win2k/i, '1', 'windows2019srv_64Guest', 'Windows2019_64'],
  [/win7/i, '105', 'windows7_64Guest', 'Windows7_64'],
  [/freebsd/i, '78', 'freebsd12_64Guest', 'FreeBSD_64'],
];

function hardware(machine: ApplianceMachine): XmlNode {
  const items = new Items();
  items.add(3, {
    AllocationUnits: 'hertz * 10^6',
    Description: 'Number of virtual CPUs',
    ElementName: `${machine.vcpus} virtual CPU(s)`,
    VirtualQuantity: String(machine.vcpus),
  });
  const megabytes = Math.max(1, Math.round(machine.memory / 2 ** 20));
  items.add(4, {
    AllocationUnits: 'byte * 2^20',
    Description: 'Memory size',
    ElementName: `${megabytes} MB of memory`,
    VirtualQuantity: String(megabytes),
  });
  addDrives(items, machine);
  machine.nics.forEach((nic, index) =>
    items.add(10, {
      ...(nic.macAddress && { Address: nic.macAddress }),
      AddressOnParent: String(index + 7),
      AutomaticAllocation: 'true',
      Connection: networkOf(nic),
      ElementName: `Network adapter ${index + 1}`,
      ResourceSubType: nicTypes[nic.model ?? ''] ?? 'E1000',
    }),
  );
  return element(
    'VirtualHardwareSection',
    {},
    info('Virtual hardware requirements'),
    element(
      'System',
      {},
      element('vssd:ElementName', {}, 'Virtual Hardware Family'),
      element('vssd:InstanceID', {}, '0'),
      element('vssd:VirtualSystemIdentifier', {}, machine.name),
      element('vssd:VirtualSystemType', {}, machine.firmware === 'bios' ? 'vmx-10' : 'vmx-13'),
    ),
    ...items.nodes,
    ...firmware(machine),
  );
}

/** What both know as theirs. */
const nicTypes: Record<string, string> = {
  e1000e: 'E1000e',
  vmxnet3: 'VmxNet3',
  pcnet: 'PCNet32',
};

/**
 * Both have SATA (in two words: VirtualBox takes VMware's, VMware only its own), LSI Logic SCSI and IDE. What was on
 * virtio, which VMware has not, goes to SATA: every system of these years boots from it.
 */
function addDrives(items: Items, machine: ApplianceMachine): void {
  const controllers = new Map<string, { id: string; next: number }>();
  let disks = 0;
  for (const disk of machine.disks) {
    const kind = controllerOf(disk);
    const most = kind.type === 5 ? 2 : kind.type === 6 ? 15 : 30;
    let controller = controllers.get(kind.subtype);
    if (controller === undefined || controller.next >= most) {
      controller = {
        id: items.add(kind.type, {
          ElementName: kind.name,
          ResourceSubType: kind.subtype,
          Address: String(controllers.size),
        }),
        next: 0,
      };
      controllers.set(kind.subtype, controller);
    }
    // Place 7 of a SCSI bus is the controller's own.
    if (kind.type === 6 && controller.next === 7) controller.next++;
    items.add(disk.cdrom ? 15 : 17, {
      AddressOnParent: String(controller.next++),
      ...(disk.cdrom ? { AutomaticAllocation: 'false' } : {}),
      ElementName: disk.cdrom ? 'CD/DVD drive' : `Hard disk ${disks + 1}`,
      ...(disk.cdrom
        ? { ResourceSubType: 'vmware.cdrom.remotepassthrough' }
        : { HostResource: `ovf:/disk/vmdisk${++disks}` }),
      Parent: controller.id,
    });
  }
}

function controllerOf(disk: ApplianceMachine['disks'][number]): {
  type: number;
  subtype: string;
  name: string;
} {
  if (disk.bus === 'scsi' && !disk.cdrom) {
    if (disk.controller === 'pvscsi') return { type: 6, subtype: 'VirtualSCSI', name: 'SCSI controller' };
    if (disk.controller === 'sas') return { type: 6, subtype: 'lsilogicsas', name: 'SAS controller' };
    if (disk.controller === 'lsilogic') return { type: 6, subtype: 'lsilogic', name: 'SCSI controller' };
  }
  if (disk.bus === 'ide') return { type: 5, subtype: 'PIIX4', name: 'IDE controller' };
  return { type: 20, subtype: 'vmware.sata.ahci', name: 'SATA controller' };
}

function firmware({ firmware }: ApplianceMachine): XmlNode[] {
  if (firmware === 'bios') return [];
  const config = (key: string, value: string): XmlNode =>
    element('vmw:Config', { 'ovf:required': 'false', 'vmw:key': key, 'vmw:value': value });
  return [
    config('firmware', 'efi'),
    ...(firmware === 'uefi-secure' ? [config('bootOptions.efiSecureBootEnabled', 'true')] : []),
  ];
}

function networkOf(nic: ApplianceMachine['nics'][number]): string {
  return nic.network ?? 'NAT';
}

function info(text: string): XmlNode {
  return element('Info', {}, text);
}

/** Items of a hardware section; the standard wants their elements in the order of the alphabet. */
class Items {
  readonly nodes: XmlNode[] = [];

  /** Returns its InstanceID. */
  add(type: number, values: Record<string, string>): string {
    const id = String(this.nodes.length + 1);
    const all = Object.entries({ ...values, InstanceID: id, ResourceType: String(type) }).toSorted(
      ([a], [b]) => (a < b ? -1 : 1),
    );
    this.nodes.push(element('Item', {}, ...all.map(([name, value]) => element(`rasd:${name}`, {}, value))));
    return id;
  }
}

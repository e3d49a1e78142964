import { bounds, macOf, memoryOf, uuidOf, vcpusOf, wholeNumber } from './bounds.ts';
import type { ApplianceMachine } from '../appliances.ts';
import { refusal } from './refuse.ts';
import { osVariantOf } from './os-names.ts';
import { readXml, type Xml } from './xml.ts';

export interface XvaMachine {
  machine: Omit<ApplianceMachine, 'disks'>;
  disks: {
    name: string;
    cdrom: boolean;
    position: number;
    boot: boolean;
    reference?: string;
    size?: number;
  }[];
  warnings: string[];
}

/** The `ova.xml` of an XVA: XenServer's database of the machine, as XML-RPC writes values. */
export function readXvaModel(content: Buffer, where: string): XvaMachine {
  const value = readXml(content, where, 'value');
  const objects = objectsOf(value, where);
  const machines = objects.filter(
    (each) =>
      each.kind === 'VM' &&
      each.text('is_a_snapshot') !== 'true' &&
      each.text('is_control_domain') !== 'true',
  );
  if (machines.length !== 1)
    throw refusal(where, `it has ${machines.length} virtual machines: export one at a time`);
  const [vm] = machines as [XvaObject];
  const warnings: string[] = [];
  const hvm = (vm.text('HVM_boot_policy') ?? '') !== '' || vm.text('domain_type') === 'hvm';
  if (!hvm)
    warnings.push(
      'it was a paravirtual guest of Xen: it boots here only if its disk has a boot loader and a kernel that runs elsewhere, too',
    );
  const mine = (kind: string): XvaObject[] =>
    objects.filter((each) => each.kind === kind && each.text('VM') === vm.id);
  const efi = vm.field('HVM_boot_params', 'firmware') === 'uefi';
  const os = vm.field('guest_metrics', 'os_version') ?? vm.text('reference_label');
  return {
    machine: {
      name: vm.text('name_label') ?? 'imported',
      uuid: uuidOf(vm.text('uuid')),
      description: vm.text('name_description')?.slice(0, 4096),
      ...(os && { os: { text: os, variant: osVariantOf(os.replaceAll('-', ' ')) } }),
      arch: 'x86_64',
      memory: memoryOf(vm.text('memory_static_max') ?? '', 1, where),
      vcpus: vcpusOf(vm.text('VCPUs_max') ?? '1', where),
      firmware: efi ? (vm.field('platform', 'secureboot') === 'true' ? 'uefi-secure' : 'uefi') : 'bios',
      tpm: objects.some((each) => each.kind === 'VTPM'),
      nics: mine('VIF')
        .toSorted((a, b) => Number(a.text('device')) - Number(b.text('device')))
        .map((vif) => ({
          macAddress: macOf(vif.text('MAC')),
          network: objects
            .find((each) => each.kind === 'network' && each.id === vif.text('network'))
            ?.text('name_label'),
        })),
    },
    disks: mine('VBD')
      .map((vbd) => diskOf(vbd, objects, where))
      .toSorted((a, b) => a.position - b.position),
    warnings,
  };
}

function diskOf(vbd: XvaObject, objects: XvaObject[], where: string): XvaMachine['disks'][number] {
  const cdrom = vbd.text('type') === 'CD';
  const position = Number(vbd.text('userdevice') ?? 0) || 0;
  const vdi = objects.find((each) => each.kind === 'VDI' && each.id === vbd.text('VDI'));
  if (cdrom || vdi === undefined) {
    if (!cdrom) throw refusal(where, `its disk ${position} has no VDI in it`);
    return { name: `cd ${position}`, cdrom, position, boot: false };
  }
  const range = { least: 1, most: bounds.diskSize };
  return {
    name: vdi.text('name_label') ?? `disk ${position}`,
    cdrom,
    position,
    boot: vbd.text('bootable') === 'true',
    reference: vdi.id,
    size: wholeNumber(vdi.text('virtual_size') ?? '', range, where, `the size of disk ${position}`),
  };
}

interface XvaObject {
  kind: string;
  id: string;
  text(name: string): string | undefined;
  field(name: string, key: string): string | undefined;
}

function objectsOf(value: Xml, where: string): XvaObject[] {
  const objects = member(value, 'objects')?.child('array', 'data')?.children('value') ?? [];
  if (objects.length === 0) throw refusal(where, 'it has no objects in it');
  if (objects.length > 10_000) throw refusal(where, 'it has more than 10000 objects');
  return objects.map((object) => {
    const snapshot = member(object, 'snapshot');
    const fields = new Map(
      (snapshot?.child('struct')?.children('member') ?? []).map((each) => [
        each.value('name') ?? '',
        each.child('value'),
      ]),
    );
    const scalar = (at: Xml | undefined): string | undefined =>
      (at?.children()[0]?.text ?? at?.text) || undefined;
    return {
      kind: scalar(member(object, 'class')) ?? '',
      id: scalar(member(object, 'id')) ?? '',
      text: (name) => scalar(fields.get(name)),
      field: (name, key) => scalar(fields.get(name) && member(fields.get(name)!, key)),
    };
  });
}

function member(value: Xml, name: string): Xml | undefined {
  return value
    .child('struct')
    ?.children('member')
    .find((each) => each.value('name') === name)
    ?.child('value');
}

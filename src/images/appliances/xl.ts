import { posix } from 'node:path';
import type { ApplianceDiskFile, ApplianceMachine } from '../appliances.ts';
import { macOf, memoryOf, uuidOf, vcpusOf } from './bounds.ts';
import { diskIn } from './disk-file.ts';
import { nicModel } from './hardware-words.ts';
import type { ReadMachine } from './open-appliance.ts';
import { refusal } from './refuse.ts';
import { findBeside, readAll, type ApplianceFile, type ApplianceSource } from './source.ts';
import { parseXl, type XlValue } from './xl-syntax.ts';

/** A domain of Xen, with its disks beside it. https://xenbits.xen.org/docs/unstable/man/xl.cfg.5.html */
export async function readXl(file: ApplianceFile, source: ApplianceSource): Promise<ReadMachine> {
  const where = file.name;
  const settings = parseXl((await readAll(file, 1 << 20)).toString('utf8'), where);
  const text = (name: string): string | undefined => {
    const value = settings.get(name);
    return value === undefined || Array.isArray(value) ? undefined : String(value);
  };
  const warnings: string[] = [];
  const paravirtual = (text('type') ?? text('builder') ?? 'pv') !== 'hvm';
  if (paravirtual)
    warnings.push(
      'it was a paravirtual guest of Xen: it boots here only if its disk has a boot loader and a kernel that runs elsewhere, too',
    );
  if (text('kernel'))
    warnings.push('it booted a kernel of its host: the machine boots from its disks instead');
  const efi = /ovmf|uefi/i.test(text('firmware') ?? text('bios') ?? '');
  return {
    machine: {
      name: text('name') ?? posix.basename(where).replace(/\.\w+$/, ''),
      uuid: uuidOf(text('uuid')),
      arch: 'x86_64',
      memory: memoryOf(text('memory') ?? text('maxmem') ?? '', 2 ** 20, where),
      vcpus: vcpusOf(text('vcpus') ?? '1', where),
      firmware: efi ? 'uefi' : 'bios',
      tpm: false,
      nics: listOf(settings.get('vif'), where, 'vif').map(nicOf),
    },
    disks: await disksOf(listOf(settings.get('disk'), where, 'disk'), { where, source, warnings }),
    warnings,
  };
}

function listOf(value: XlValue | undefined, where: string, what: string): string[] {
  const list = value === undefined ? [] : Array.isArray(value) ? value : [value];
  return list.map((each) => {
    if (typeof each === 'string') return each;
    throw refusal(where, `its ${what} has an item that is no string`);
  });
}

function keysOf(text: string): Map<string, string> {
  const pairs = text.split(',').map((part) => /^\s*([\w-]+)\s*=(.*)$/.exec(part));
  return new Map(
    pairs.filter((pair) => pair !== null).map((pair) => [pair[1]!.toLowerCase(), pair[2]!.trim()]),
  );
}

function nicOf(text: string): ApplianceMachine['nics'][number] {
  const keys = keysOf(text);
  return {
    macAddress: macOf(keys.get('mac')),
    model: nicModel(keys.get('model')),
    network: keys.get('bridge'),
  };
}

interface Context {
  where: string;
  source: ApplianceSource;
  warnings: string[];
}

async function disksOf(list: string[], { where, source, warnings }: Context): Promise<ReadMachine['disks']> {
  const disks: ReadMachine['disks'] = [];
  for (const text of list) {
    const disk = parseXlDisk(text, where);
    const bus: ApplianceMachine['disks'][number]['bus'] = /^hd/.test(disk.vdev)
      ? 'ide'
      : /^sd/.test(disk.vdev)
        ? 'scsi'
        : 'virtio';
    const entry = {
      name: disk.vdev,
      bus,
      ...(bus === 'scsi' && { controller: 'lsilogic' }),
      cdrom: disk.cdrom,
    };
    if (disk.cdrom) {
      if (disk.target) warnings.push(`the CD in ${disk.vdev} is not taken along: the drive is empty`);
      disks.push({ entry: { ...entry, bus: 'ide' } });
      continue;
    }
    const file = await findBeside(source, disk.target, where);
    if (file === undefined)
      throw refusal(
        where,
        `its disk "${disk.target}" is not beside it: copy it into the directory of the description`,
      );
    disks.push({ entry, take: diskIn(file, source, { format: disk.format }) });
  }
  return disks;
}

export interface XlDisk {
  target: string;
  format: ApplianceDiskFile['format'];
  vdev: string;
  cdrom: boolean;
}

const formats: Record<string, ApplianceDiskFile['format']> = {
  raw: 'raw',
  '': 'raw',
  qcow2: 'qcow2',
  vhd: 'vpc',
};

/** `target, format, vdev, access` and keys; `target=` takes the rest. xl-disk-configuration(5). */
export function parseXlDisk(text: string, where: string): XlDisk {
  const keys = new Map<string, string>();
  const positional: string[] = [];
  let cdrom = false;
  const rest = /(?:^|,)\s*target\s*=(.*)$/.exec(text);
  const parts = (rest ? text.slice(0, rest.index) : text).split(',').map((part) => part.trim());
  for (const part of parts) {
    const pair =
      /^(format|vdev|access|devtype|backendtype|backend|script|direct-io-safe|discard)\s*=(.*)$/.exec(part);
    if (part === 'cdrom' || part === 'devtype=cdrom') cdrom = true;
    else if (pair) keys.set(pair[1]!, pair[2]!.trim());
    else positional.push(part);
  }
  // The first is the target unless that was named; before it stand the words of old times.
  let target = rest?.[1]!.trim() ?? positional.shift() ?? '';
  for (let prefix = oldPrefix.exec(target); prefix; prefix = oldPrefix.exec(target)) {
    if (/^(phy|iscsi|nbd|drbd):/.test(prefix[0]))
      throw refusal(
        where,
        `its disk "${target}" is a device of its host: copy it to a file beside the description`,
      );
    const word = /qcow2|vhd/.exec(prefix[0])?.[0];
    if (word) keys.set('format', word);
    target = target.slice(prefix[0].length);
  }
  // Old: target, vdev, access. New: target, format, vdev, access.
  const old = positional.length > 0 && /^(xvd|hd|sd)[a-z]+\d*(:cdrom)?$/.test(positional[0]!);
  const [format = '', vdevText = ''] = old ? [keys.get('format') ?? 'raw', positional[0]!] : positional;
  const vdev = (keys.get('vdev') ?? vdevText).replace(/:(cdrom|disk)$/, '');
  cdrom ||= /:cdrom$/.test(keys.get('vdev') ?? vdevText) || keys.get('devtype') === 'cdrom';
  const word = keys.get('format') ?? format;
  if (formats[word] === undefined && !cdrom)
    throw refusal(where, `its disk "${text}" has the format "${word}", which is not read`);
  if (target === '' && !cdrom) throw refusal(where, `its disk "${text}" has no file`);
  if (!/^[a-z]{1,6}\d{0,3}$/.test(vdev)) throw refusal(where, `its disk "${text}" has no name in the guest`);
  return { target, format: formats[word] ?? 'raw', vdev, cdrom };
}

const oldPrefix = /^(file|phy|iscsi|nbd|drbd|tap2?(:aio|:qcow2?|:vhd)?|aio|qcow2|vhd|raw):/;

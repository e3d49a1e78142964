import { isAbsolute } from 'node:path';
import { isleError } from '../../lib/errors.ts';
import type { CloudInit, MachineDisk, MachineSpec } from '../machine.ts';

const mebibyte = 1024 * 1024;
const smallestMemory = 4 * mebibyte;
const largestMemory = 16 * 1024 * 1024 * mebibyte;
const mostVcpus = 512;
/** Disks and CDs together: a machine has no more slots to plug them into. */
const mostDisks = 24;
const mostDevices = 16;

/** What is checked of the hardware: the same before it is made and when it is edited. */
export type CheckedHardware = Omit<
  MachineSpec,
  'snapshots' | 'currentSnapshot' | 'saved' | 'savedWith' | 'generationId' | 'disks' | 'uuid'
> & {
  uuid?: string;
  disks: Omit<MachineDisk, 'diskId' | 'path'>[];
};

/**
 * Refuses hardware that cannot be, and any text that is not what it should be: all of it reaches a command line. Whether
 * this host can give it is the runtime's matter. Throws `invalidParameter`.
 */
export function checkHardware(hardware: CheckedHardware): void {
  checkType(hardware);
  checkSizes(hardware);
  checkTexts(hardware);
  checkTargets(hardware);
  for (const disk of hardware.disks) checkDisk(disk);
  checkShares(hardware.shares);
  checkPassed(hardware);
  checkBoot(hardware);
  if (hardware.cloudInit) checkCloudInit(hardware.cloudInit);
}

function refuse(message: string): never {
  throw isleError('invalidParameter', { message });
}

function checkType({ arch, type, firmware }: CheckedHardware): void {
  const types = arch === 'x86_64' ? ['q35', 'microvm'] : ['virt'];
  if (!types.includes(type)) refuse(`a machine for ${arch} is of type ${types.join(' or ')}, not ${type}`);
  if (type === 'microvm' && firmware !== 'bios') refuse('machines of type microvm have no UEFI: take q35');
  if (firmware === 'uefi-secure' && arch !== 'x86_64') refuse(`there is no secure boot for ${arch} here`);
}

function checkSizes({ memory, maxMemory, vcpus, maxVcpus }: CheckedHardware): void {
  const memories: [string, number | undefined][] = [
    ['memory', memory],
    ['maximum of memory', maxMemory],
  ];
  for (const [what, bytes] of memories)
    if (bytes !== undefined && !(bytes >= smallestMemory && bytes <= largestMemory && bytes % mebibyte === 0))
      refuse(`the ${what} must be whole MiB from 4 MiB to 16 TiB, not ${bytes} bytes`);
  if (maxMemory !== undefined && maxMemory < memory) refuse('the maximum of memory is below the memory');
  const counts: [string, number | undefined][] = [
    ['number of vCPUs', vcpus],
    ['maximum of vCPUs', maxVcpus],
  ];
  for (const [what, count] of counts)
    if (count !== undefined && !(Number.isInteger(count) && count >= 1 && count <= mostVcpus))
      refuse(`the ${what} must be from 1 to ${mostVcpus}, not ${count}`);
  if (maxVcpus !== undefined && maxVcpus < vcpus) refuse('the maximum of vCPUs is below their number');
}

function checkTexts(hardware: CheckedHardware): void {
  const { cpuModel, kernel, osVariant, uuid, origin, description } = hardware;
  match('the CPU model', cpuModel, /^[A-Za-z0-9][\w.,+=-]{0,255}$/);
  match('the OS variant', osVariant, /^[A-Za-z0-9][\w.-]{0,63}$/);
  match('the UUID', uuid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i);
  match('the origin', origin, /^\P{Cc}{0,512}$/u);
  match('the description', description, /^[\P{Cc}\n\t]{0,4096}$/u);
  for (const model of hardware.nicModels) match('a NIC model', model, /^[a-z][a-z0-9_-]{1,31}$/);
  if (hardware.nicModels.length > mostDevices) refuse(`more than ${mostDevices} NICs`);
  if (kernel) {
    checkPath('the kernel', kernel.path);
    if (kernel.initrd !== undefined) checkPath('the initrd', kernel.initrd);
    match('the kernel arguments', kernel.arguments, /^\P{Cc}{0,2048}$/u);
  }
}

/** Of the user's, in the words of messages. */
export function checkPath(what: string, path: string): void {
  if (!isAbsolute(path)) refuse(`${what}: "${shown(path)}" must be an absolute path`);
  if (path.length > 4095 || /\p{Cc}/u.test(path)) refuse(`${what}: "${shown(path)}" is no path`);
}

function match(what: string, text: string | undefined, pattern: RegExp): void {
  if (text !== undefined && !pattern.test(text)) refuse(`${what} cannot be "${shown(text)}"`);
}

/** Control characters must not reach a terminal or a log through a message. */
export function shown(text: string): string {
  return JSON.stringify(text.slice(0, 200)).slice(1, -1);
}

/** Also what a disk is called in QEMU. */
const targetPattern = /^[a-z][a-z0-9]{1,11}$/;

function checkTargets({ disks, cdroms }: CheckedHardware): void {
  const targets = [...disks, ...cdroms].map(({ target }) => target);
  if (targets.length > mostDisks)
    refuse(`${targets.length} disks and CDs: a machine has ${mostDisks} at most`);
  for (const [index, target] of targets.entries()) {
    match('the target of a disk', target, targetPattern);
    if (/^(net|tap|nvram|file|seed|tpm|usb|pci)\d*$/.test(target))
      refuse(`a disk cannot be called ${target}`);
    if (targets.indexOf(target) !== index) refuse(`two disks have the target ${target}`);
  }
  for (const { path } of cdroms) if (path !== undefined) checkPath('the CD', path);
}

export function checkDisk({ target, serial, limits, bus, readOnly }: CheckedHardware['disks'][number]): void {
  match(`the serial number of ${target}`, serial, /^[\w.-]{1,20}$/);
  for (const [name, limit] of Object.entries(limits))
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0))
      refuse(`${name} of ${target} must be a whole number a second, not ${limit}`);
  if (readOnly && (bus === 'ide' || bus === 'sata')) refuse(`${target}: disks on ${bus} cannot be read-only`);
}

function checkShares(shares: CheckedHardware['shares']): void {
  if (shares.length > mostDevices) refuse(`more than ${mostDevices} shared directories`);
  for (const [index, { source, tag }] of shares.entries()) {
    checkPath('a shared directory', source);
    match('the tag of a shared directory', tag, /^[A-Za-z0-9_./-]{1,35}$/);
    if (shares.findIndex((other) => other.tag === tag) !== index)
      refuse(`two shared directories have the tag ${tag}`);
  }
}

function checkPassed({ usb, pci }: CheckedHardware): void {
  if (usb.length + pci.length > mostDevices) refuse(`more than ${mostDevices} devices of the host`);
  for (const { vendor, product } of usb)
    for (const id of [vendor, product])
      if (!(Number.isInteger(id) && id >= 0 && id <= 0xffff)) refuse(`${id} is no id of a USB device`);
  for (const address of pci) match('a PCI address', address, /^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/);
}

function checkBoot({ boot, disks, cdroms }: CheckedHardware): void {
  const targets = [...disks, ...cdroms].map(({ target }) => target);
  for (const [index, target] of boot.entries()) {
    if (!targets.includes(target) && !/^net\d{1,2}$/.test(target))
      refuse(`cannot boot from "${shown(target)}": there are ${[...targets, 'net0'].join(', ')}`);
    if (boot.indexOf(target) !== index) refuse(`the boot order names ${target} twice`);
  }
}

/** Bytes of a file that the user brings along for cloud-init. */
const largestFile = 1024 * 1024;

function checkCloudInit(seed: CloudInit): void {
  match('the host name', seed.hostname, /^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$/);
  match('the user', seed.user, /^[a-z_][a-z0-9_-]{0,31}$/i);
  for (const hash of [seed.passwordHash, seed.root?.passwordHash])
    match('the hash of a password', hash, /^\$[\x21-\x39\x3b-\x7e]{5,500}$/);
  match('the instance id', seed.instanceId, /^[\w.:-]{1,128}$/);
  const keys = [...seed.sshKeys, ...(seed.root?.sshKeys ?? [])];
  if (keys.length > 256) refuse('more than 256 SSH keys');
  for (const key of keys) match('an SSH key', key, /^[\w@.-]{1,100} \P{Cc}{1,16384}$/u);
  for (const text of [seed.userData, seed.metaData, seed.networkConfig])
    if (text !== undefined && Buffer.byteLength(text) > largestFile)
      refuse(`a file for cloud-init is larger than ${largestFile} bytes`);
}

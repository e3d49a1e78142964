import { resolve } from 'node:path';
import type { MachineSpec } from '../../engine/machine.ts';
import { Failure } from '../failure.ts';
import { SubOptions } from './sub-options.ts';

/** `SOURCE,TAG`, `source=…,target=…,readonly=on`. */
export function parseFilesystem(given: string): MachineSpec['shares'][number] {
  const [first = '', second = ''] = given.split(',');
  const bare = !first.includes('=') && second !== '' && !second.includes('=');
  const options = new SubOptions(
    bare ? `source=${first},target=${second}${given.slice(first.length + second.length + 1)}` : given,
    'source',
  );
  const source = options.text('source', 'source.dir');
  const tag = options.text('target', 'target.dir', 'tag');
  const driver = options.text('driver.type', 'driver');
  const readOnly = options.flag('readonly') ?? false;
  options.ignore(
    'Isle chooses',
    'accessmode',
    'mode',
    'binary.path',
    'binary.xattr',
    'driver.queue',
    'binary.cache.mode',
  );
  const type = options.text('type');
  options.end();
  if (type !== undefined && type !== 'mount')
    throw new Failure(`type=${type} is not supported: directories are shared`);
  if (driver !== undefined && driver !== 'virtiofs')
    throw new Failure(
      `driver.type=${driver} is not supported: directories are shared by virtiofs (mount -t virtiofs TAG /mnt)`,
    );
  if (source === undefined || tag === undefined)
    throw new Failure('say SOURCE,TAG: a directory here and its name in the guest');
  return { source: resolve(source), tag, readOnly };
}

export type HostDevice = { kind: 'pci'; address: string } | { kind: 'usb'; vendor: number; product: number };

/** `0000:01:00.0`, `pci_0000_01_00_0`, `0x1d6b:0x0002`, `type=pci,…`: as virt-install and lspci/lsusb write them. */
export function parseHostDevice(given: string): HostDevice {
  const [name = '', ...more] = given.split(',').map((word) => word.replace(/^(name|source)=/, ''));
  for (const option of more)
    if (!/^(type=|mode=|managed=|driver_name=)/.test(option))
      throw new Failure(`option "${option}" of a device is not supported`);
  const pci = /^(?:pci_)?(?:([0-9a-f]{4})[:_])?([0-9a-f]{2})[:_]([0-9a-f]{2})[._]([0-7])$/i.exec(name);
  if (pci) {
    const [, domain = '0000', bus, slot, part] = pci;
    return { kind: 'pci', address: `${domain}:${bus}:${slot}.${part}`.toLowerCase() };
  }
  const usb = /^(?:0x)?([0-9a-f]{4}):(?:0x)?([0-9a-f]{4})$/i.exec(name);
  if (usb)
    return { kind: 'usb', vendor: Number.parseInt(usb[1]!, 16), product: Number.parseInt(usb[2]!, 16) };
  throw new Failure(
    `no device: "${name}" (a PCI address such as 0000:01:00.0 of lspci -D, or a USB device such as 1d6b:0002 of lsusb)`,
  );
}

/** Whether it has one; version 2.0, emulated. */
export function parseTpm(given: string): boolean {
  const options = new SubOptions(given, 'type');
  const type = options.text('type', 'backend.type');
  const version = options.text('version', 'backend.version');
  const device = options.text('path', 'device.path', 'backend.device.path');
  options.ignore('Isle chooses', 'model', 'backend.persistent_state', 'active_pcr_banks.sha256');
  options.end();
  if (type === 'none') return false;
  if (type === 'passthrough' || device !== undefined || type?.startsWith('/'))
    throw new Failure(
      "the host's TPM is not passed through: take emulator, which gives the machine one of its own",
    );
  if (version !== undefined && version !== '2.0' && version !== '2')
    throw new Failure(`version ${version} is not supported: 2.0 is`);
  if (type !== undefined && !['emulator', 'default', 'yes', 'on'].includes(type))
    throw new Failure(`unknown type "${type}" (emulator, none)`);
  return true;
}

/** Whether it has a screen. */
export function parseGraphics(given: string): { graphics: boolean; notes: string[] } {
  const options = new SubOptions(given, 'type');
  const type = options.text('type') ?? 'vnc';
  options.ignore(
    'a screen is shown to who may talk to the engine (isle vm display), on no port',
    'listen',
    'port',
    'tlsPort',
    'tlsport',
    'password',
    'passwordvalidto',
    'connected',
    'websocket',
    'keymap',
    'socket',
    'defaultMode',
    'gl',
    'gl.enable',
    'rendernode',
    'image_compression',
    'streaming_mode',
    'clipboard_copypaste',
    'mouse_mode',
    'filetransfer_enable',
    'autoport',
    'listens0.type',
  );
  options.end();
  if (type === 'none') return { graphics: false, notes: options.notes };
  if (type === 'vnc') return { graphics: true, notes: options.notes };
  if (type === 'spice')
    return { graphics: true, notes: ['the screen is served as VNC, not SPICE', ...options.notes] };
  throw new Failure(`--graphics ${type} is not supported: vnc or none`);
}

export function parseArch(given: string): MachineSpec['arch'] {
  const name = given.toLowerCase();
  if (['x86_64', 'amd64', 'x86-64', 'i686', 'i386'].includes(name)) return 'x86_64';
  if (name === 'aarch64' || name === 'arm64') return 'aarch64';
  if (name === 'riscv64') return 'riscv64';
  throw new Failure(`there are x86_64, aarch64 and riscv64`);
}

export function parseType(given: string): MachineSpec['type'] {
  const name = given
    .toLowerCase()
    .replace(/^pc-q35-.*/, 'q35')
    .replace(/^virt-.*/, 'virt');
  if (name === 'q35' || name === 'microvm' || name === 'virt') return name;
  if (name === 'pc' || name.startsWith('pc-') || name.startsWith('i440fx'))
    throw new Failure(
      'the old i440FX board is not offered: q35 has what its guests know (IDE disks, e1000 cards)',
    );
  throw new Failure('there are q35, microvm and (for other processors) virt');
}

/** `kvm` or emulation. */
export function parseVirtType(given: string): MachineSpec['accelerator'] {
  const name = given.toLowerCase();
  if (name === 'kvm') return 'kvm';
  if (name === 'qemu' || name === 'tcg') return 'tcg';
  throw new Failure('there are kvm and qemu (emulation)');
}

import { resolve } from 'node:path';
import type { MachineSpec } from '../../engine/machine.ts';
import { Failure } from '../failure.ts';
import { SubOptions } from './sub-options.ts';

export type BootDevice = 'hd' | 'cdrom' | 'network';

export interface AskedBoot {
  firmware?: MachineSpec['firmware'];
  /** In that order, when said. */
  devices: BootDevice[];
  kernel?: MachineSpec['kernel'];
  notes: string[];
}

/** `uefi`, `hd,cdrom,network`, `kernel=FILE,initrd=FILE,kernel_args=…`. */
export function parseBoot(given: string): AskedBoot {
  const options = new SubOptions(given);
  const order = options
    .words(['hd', 'cdrom', 'network', 'pxe'])
    .map((word): BootDevice => (word === 'pxe' ? 'network' : word));
  const firmware = firmwareOf(options);
  const kernel = options.text('kernel');
  const initrd = options.text('initrd');
  const args = options.text('kernel_args', 'cmdline', 'extra_args');
  options.refuse('dtb', 'QEMU makes the device tree');
  options.refuse('fd', 'there are no floppy disks');
  options.ignore(
    'Isle chooses',
    'menu',
    'bootmenu.enable',
    'useserial',
    'bios.useserial',
    'rebootTimeout',
    'bios.rebootTimeout',
    'loader',
    'loader_ro',
    'loader.readonly',
    'loader_type',
    'loader.type',
    'nvram',
    'nvram.template',
    'nvram_template',
    'smbios_mode',
    'smbios.mode',
    'boot0.dev',
  );
  options.end();
  if (kernel === undefined && (initrd !== undefined || args !== undefined))
    throw new Failure('initrd and kernel_args go with a kernel: kernel=FILE');
  return {
    devices: order,
    notes: options.notes,
    ...(firmware !== undefined && { firmware }),
    ...(kernel !== undefined && {
      kernel: {
        path: resolve(kernel),
        ...(initrd !== undefined && { initrd: resolve(initrd) }),
        arguments: args ?? '',
      },
    }),
  };
}

function firmwareOf(options: SubOptions): MachineSpec['firmware'] | undefined {
  const uefi = options.flag('uefi');
  const bios = options.flag('bios');
  const named = options.choice(['efi', 'uefi', 'bios'], 'firmware');
  const feature = options.text('firmware.feature0.name', 'feature0.name');
  const enabled = options.flag('firmware.feature0.enabled', 'feature0.enabled') ?? true;
  options.ignore('Isle chooses', 'firmware.feature1.name', 'firmware.feature1.enabled');
  const secure =
    options.flag('loader_secure', 'loader.secure', 'secure', 'secure-boot', 'uefi-secure') ??
    (feature === 'secure-boot' ? enabled : undefined);
  if (secure) return 'uefi-secure';
  if (uefi || named === 'efi' || named === 'uefi' || secure === false) return 'uefi';
  return bios || named === 'bios' ? 'bios' : undefined;
}

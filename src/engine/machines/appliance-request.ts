import type { Appliance, ApplianceMachine } from '../../images/appliances.ts';
import type { MachineDisk, ScsiController } from '../machine.ts';
import type { DiskRequest, MachineRequest } from '../machines.ts';
import type { EndpointSpec } from '../model.ts';
import { plainPlace } from './plain-place.ts';
import { nextTarget } from './targets.ts';

/** What is known of this host while another one's machine is read. */
export interface ApplianceHost {
  /** Names of networks that machines can be in. */
  networks: ReadonlySet<string>;
  /** UUIDs that machines have. */
  uuids: ReadonlySet<string>;
}

/**
 * Another hypervisor's machine as one of Isle's: the same addresses, cards, disks and controllers, where QEMU has them, so that
 * its guest finds what it has drivers for. `warnings`: what is another.
 */
export function requestOf(
  appliance: Appliance,
  host: ApplianceHost,
  origin: string,
): { request: MachineRequest; warnings: string[] } {
  const { machine } = appliance;
  const warnings: string[] = [];
  const places = targetsOf(machine.disks);
  const disks = machine.disks.flatMap((disk, index): DiskRequest[] => {
    if (disk.cdrom) return [];
    const { bus, controller } = busOf(disk, machine, warnings);
    const take = (directory: string, signal?: AbortSignal) => appliance.disk(index, directory, signal);
    return [
      {
        target: places[index]!,
        bus,
        ...(controller && { controller }),
        readOnly: false,
        cache: 'writeback',
        discard: true,
        limits: {},
        source: { kind: 'appliance', take },
      },
    ];
  });
  const { place, nicModels } = networksOf(machine, host, warnings);
  return {
    request: {
      container: { ...plainPlace(), ...place },
      hardware: {
        ...hardwareOf(machine, host, warnings),
        cdroms: machine.disks.flatMap((disk, index) => (disk.cdrom ? [{ target: places[index]! }] : [])),
        nicModels,
        boot: bootOf(machine, places),
        origin: plainText(origin).slice(0, 512),
      },
      disks,
    },
    warnings,
  };
}

/** The guest's names of disks, then of CDs. */
function targetsOf(disks: ApplianceMachine['disks']): string[] {
  const taken = new Set<string>();
  const targets = disks.map(({ bus, cdrom }) => (cdrom ? '' : nextTarget(bus, taken)));
  return targets.map((target, index) => target || nextTarget(disks[index]!.bus, taken));
}

const mebibyte = 2 ** 20;

function hardwareOf(
  machine: ApplianceMachine,
  host: ApplianceHost,
  warnings: string[],
): Omit<MachineRequest['hardware'], 'cdroms' | 'nicModels' | 'boot' | 'origin'> {
  const { arch, memory, vcpus, tpm, uuid, os, description } = machine;
  // There is no BIOS for the others.
  const firmware = arch === 'x86_64' ? machine.firmware : 'uefi';
  if (firmware !== 'bios')
    warnings.push(
      'the variables of its firmware are not taken along: it boots what its disk offers by default (EFI/BOOT)',
    );
  if (tpm)
    warnings.push('its TPM is a new one: secrets that were sealed to the old one need their recovery keys');
  const known = uuid !== undefined && host.uuids.has(uuid);
  if (known) warnings.push('its UUID is taken by another machine here: it gets a new one');
  const variant = os?.variant;
  return {
    arch,
    type: arch === 'x86_64' ? 'q35' : 'virt',
    memory: Math.ceil(memory / mebibyte) * mebibyte,
    vcpus,
    firmware,
    tpm,
    shares: [],
    usb: [],
    pci: [],
    graphics: arch === 'x86_64',
    ...(uuid && !known && { uuid }),
    ...(variant && /^[A-Za-z0-9][\w.-]{0,63}$/.test(variant) && { osVariant: variant }),
    ...(description && { description: plainText(description).slice(0, 4096) }),
  };
}

/** Without control characters but for new lines. */
function plainText(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(/[^\P{Cc}\n\t]/gu, ' ');
}

const controllers: Record<string, ScsiController | undefined> = {
  lsilogic: 'lsi53c895a',
  sas: 'mptsas1068',
  pvscsi: 'pvscsi',
  megasas: 'megasas',
  'virtio-scsi': undefined,
};

function busOf(
  disk: ApplianceMachine['disks'][number],
  { arch }: ApplianceMachine,
  warnings: string[],
): { bus: MachineDisk['bus']; controller?: ScsiController } {
  // `virt` machines have neither SATA nor IDE.
  if (arch !== 'x86_64') return { bus: disk.bus === 'nvme' || disk.bus === 'scsi' ? disk.bus : 'virtio' };
  if (disk.bus !== 'scsi' || disk.controller === undefined) return { bus: disk.bus };
  if (disk.controller in controllers) return { bus: 'scsi', controller: controllers[disk.controller] };
  warnings.push(`${disk.name}: there is no ${disk.controller} controller here, it is on SATA now`);
  return { bus: 'sata' };
}

/** A machine has one card on a network: those that have nowhere to go are left out, and can be connected later. */
function networksOf(
  { nics, arch }: ApplianceMachine,
  { networks }: ApplianceHost,
  warnings: string[],
): { place: Pick<MachineRequest['container'], 'networkMode' | 'networks'>; nicModels: string[] } {
  const endpoints: Record<string, EndpointSpec> = {};
  const nicModels: string[] = [];
  for (const [index, nic] of nics.entries()) {
    const named = nic.network !== undefined && networks.has(nic.network) ? nic.network : 'bridge';
    const network = Object.hasOwn(endpoints, named)
      ? Object.hasOwn(endpoints, 'bridge')
        ? undefined
        : 'bridge'
      : named;
    if (network === undefined) {
      warnings.push(
        `network card ${index + 1} (${nic.macAddress ?? 'without an address'}, network "${nic.network ?? ''}") is left out: connect the machine to another network with "isle network connect${nic.macAddress ? ` --mac-address ${nic.macAddress}` : ''}"`,
      );
      continue;
    }
    endpoints[network] = { ...(nic.macAddress && { macAddress: nic.macAddress }) };
    // What Hyper-V and Xen have is nothing that QEMU has: this card is known to all systems of the last fifteen years.
    nicModels.push(arch === 'x86_64' ? (nic.model ?? 'e1000e') : 'virtio');
  }
  const [first = 'none'] = Object.keys(endpoints);
  return { place: { networkMode: first, networks: endpoints }, nicModels };
}

/** Those with a number by their numbers, else disks as they come, then CDs. */
function bootOf({ disks }: ApplianceMachine, targets: string[]): string[] {
  const order = (index: number): number => {
    const { boot, cdrom } = disks[index]!;
    return boot ?? (cdrom ? 2000 : 1000) + index;
  };
  return disks
    .map((_, index) => index)
    .toSorted((a, b) => order(a) - order(b))
    .map((index) => targets[index]!);
}

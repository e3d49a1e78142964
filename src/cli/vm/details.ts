import { formatBinaryBytes } from '../../lib/units.ts';
import type { MachineBody, MachineDiskBody, MachineDiskUsage } from '../client/machine-types.ts';
import { stateOf } from './state.ts';

/** What people want to know of a machine: a word and what there is to say, line by line. */
export function detailsOf(machine: MachineBody, disks: readonly MachineDiskUsage[]): [string, string][] {
  const { Hardware: hardware, Running: running } = machine;
  const lines: [string, string | undefined | false][] = [
    ['Name', machine.Name],
    ['Id', machine.Id.slice(0, 12)],
    ['Description', hardware.Description],
    ['State', `${stateOf(machine)}${machine.Status === '' ? '' : ` (${machine.Status})`}`],
    ['Error', machine.Error],
    ['Guest', guestOf(machine)],
    ['Runs on', running && runsOn(running)],
    ['CPUs', cpusOf(machine)],
    ['Memory', memoryOf(machine)],
    ['Board', boardOf(machine)],
    ['Boots', bootOf(machine)],
    ['Starts', startsOf(machine)],
    ...disks.map((disk): [string, string] => [`Disk ${disk.Target}`, diskOf(disk)]),
    ...hardware.Cdroms.map(({ Target, Path }): [string, string] => [`CD ${Target}`, Path ?? '(empty)']),
    ...machine.Networks.map((network): [string, string] => [
      `Network ${network.Network}`,
      [network.MacAddress, network.Model, network.IPv4, network.IPv6].filter(Boolean).join(', '),
    ]),
    ...addressesOf(machine),
    ...hardware.Shares.map(({ Source, Tag, ReadOnly }): [string, string] => [
      `Share ${Tag}`,
      `${Source}${ReadOnly ? ' (read-only)' : ''}`,
    ]),
    ['Devices', [...hardware.Pci, ...hardware.Usb.map(usbOf)].join(', ')],
    [
      'Snapshots',
      machine.Snapshots > 0 &&
        `${machine.Snapshots}${machine.CurrentSnapshot === undefined ? '' : `, now on ${machine.CurrentSnapshot}`}`,
    ],
    ['Origin', hardware.Origin],
    ['UUID', hardware.Uuid],
  ];
  return lines.filter((line): line is [string, string] => Boolean(line[1]));
}

function guestOf({ Hardware, Running, Hostname }: MachineBody): string {
  const guest = Running?.Guest;
  const system = guest?.Os ?? Hardware.OsVariant;
  return [guest?.Hostname ?? Hostname, system].filter(Boolean).join(', ');
}

function runsOn({
  Accelerator,
  AcceleratorReason,
  QemuVersion,
}: NonNullable<MachineBody['Running']>): string {
  const how = Accelerator === 'kvm' ? 'KVM' : 'emulation (TCG)';
  return `QEMU ${QemuVersion}, ${how}${AcceleratorReason ? `: ${AcceleratorReason}` : ''}`;
}

function cpusOf({ Hardware, Running }: MachineBody): string {
  const count = Running?.Vcpus ?? Hardware.Vcpus;
  const most = Hardware.MaxVcpus !== undefined && `up to ${Hardware.MaxVcpus}`;
  return [`${count}`, most, Hardware.Arch, Hardware.CpuModel].filter(Boolean).join(', ');
}

function memoryOf({ Hardware, Running }: MachineBody): string {
  const most = Hardware.MaxMemory === undefined ? '' : `, up to ${formatBinaryBytes(Hardware.MaxMemory)}`;
  return `${formatBinaryBytes(Running?.Memory ?? Hardware.Memory)}${most}`;
}

const firmware: Record<string, string> = {
  bios: 'BIOS',
  uefi: 'UEFI',
  'uefi-secure': 'UEFI with secure boot',
};

function boardOf({ Hardware }: MachineBody): string {
  const parts = [
    Hardware.Type,
    Hardware.Kernel ? undefined : (firmware[Hardware.Firmware] ?? Hardware.Firmware),
    Hardware.Tpm && 'TPM 2.0',
    Hardware.Graphics ? 'screen (isle vm display)' : 'no screen',
  ];
  return parts.filter(Boolean).join(', ');
}

function bootOf({ Hardware }: MachineBody): string {
  const { Kernel } = Hardware;
  return Kernel ? `${Kernel.Path} ${Kernel.Arguments}`.trim() : Hardware.Boot.join(', ');
}

function startsOf({ Autostart, RestartPolicy }: MachineBody): string | undefined {
  const parts = [
    Autostart && 'with the engine',
    RestartPolicy !== 'no' && RestartPolicy !== '' && `again when it ends (${RestartPolicy})`,
  ].filter(Boolean);
  return parts.join(', ');
}

function diskOf(disk: MachineDiskUsage): string {
  const sizes = `${formatBinaryBytes(disk.Allocated)} of ${formatBinaryBytes(disk.Size)}`;
  return [whereOf(disk), sizes, disk.Format, disk.Bus, disk.ReadOnly && 'read-only', limitsOf(disk)]
    .filter(Boolean)
    .join(', ');
}

export function whereOf({ Disk, Path }: Pick<MachineDiskBody, 'Disk' | 'Path'>): string {
  return Disk ?? Path ?? '-';
}

function limitsOf({ Limits }: MachineDiskBody): string | undefined {
  const said = Object.entries(Limits).filter(([, limit]) => Boolean(limit));
  return said.length === 0
    ? undefined
    : `limits ${said.map(([name, limit]) => `${name} ${limit}`).join(' ')}`;
}

function addressesOf({ Running }: MachineBody): [string, string][] {
  const byInterface = new Map<string, string[]>();
  for (const { Interface, Address } of Running?.Guest?.Addresses ?? [])
    byInterface.set(Interface, [...(byInterface.get(Interface) ?? []), Address]);
  return [...byInterface].map(([name, addresses]) => [`Guest's ${name}`, addresses.join(', ')]);
}

const usbOf = ({ Vendor, Product }: { Vendor: number; Product: number }) =>
  [Vendor, Product].map((id) => id.toString(16).padStart(4, '0')).join(':');

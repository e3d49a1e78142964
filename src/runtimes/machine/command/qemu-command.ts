import type { MachineHardware } from '../../../engine/machine.ts';
import { descriptors, type Helper } from '../boot-file.ts';
import { type Board, memoryDevice } from '../board.ts';
import { machinePaths } from '../layout.ts';
import type { MachineLink } from '../record.ts';
import { diskNodes, mediumNode, type Node, type Visible } from './blocks.ts';
import { cdDevice, diskDevice, nicDevice } from './devices.ts';
import { Slots, sparePorts } from './slots.ts';
import { pluggedMemoryDevice, typeOptions } from './type.ts';

export interface QemuCommand {
  qemu: string;
  accelerator: 'kvm' | 'tcg';
  hardware: MachineHardware;
  links: MachineLink[];
  helpers: Helper[];
  visible: Visible;
  generation: number;
  /** The UEFI's code, and the format of the machine's NVRAM. */
  firmware?: { code: string; nvram: string };
  /** Started where no kernel is given and there is no firmware that boots from disks. */
  bootLoader?: string;
  /** Waits for a guest that comes over a monitor's command. */
  incoming: boolean;
  /** Devices of the host, as QEMU's. */
  passed: Node[];
  /** Of a QEMU whose memory it takes over. */
  board?: Board;
}

/** Connections to QEMU's monitor: one that is kept, some for long jobs, and the supervisor's. */
export const monitors = ['qmp', 'job0', 'job1', 'job2', 'job3', 'vmm'] as const;

/** The CD with the cloud-init seed. */
const seedTarget = 'seed';

/**
 * QEMU's command line. It forbids itself to start programs, to change its user or its limits (`-sandbox`); the console, its
 * helpers and its taps are descriptors it is given; all else it opens is below /files and in its own socket directory.
 */
export function qemuCommand(command: QemuCommand): string[] {
  const { qemu, hardware, generation, firmware } = command;
  const { spec } = hardware;
  const slots = new Slots(spec, command.board);
  const nodes = blockNodes(command);
  const screen = spec.graphics ? screenDevices(spec.type, slots) : [];
  const pcScreen = spec.type === 'q35';
  const devices = [
    ...(spec.unikernel ? [] : serialDevices(slots)),
    ...blockDevices(hardware, slots),
    ...command.links.map((link) => nicDevice(link, slots, bootIndex(spec.boot, `net${link.index}`))),
    ...shareDevices(command, slots),
    ...(spec.unikernel ? [] : commonDevices(slots)),
    ...(spec.unikernel && spec.arch === 'x86_64' ? [exitDevice] : []),
    ...(pcScreen ? [] : screen),
    ...(spec.type === 'q35' ? [{ driver: 'vmgenid', guid: spec.generationId ?? spec.uuid }] : []),
    ...pluggedMemory(command, slots),
    ...(command.board?.vcpus.plugged ?? []),
    ...command.passed.map((device, index) =>
      device.driver === 'vfio-pci' ? { ...device, bus: slots.port(`passed${index}`) } : device,
    ),
  ];
  const ports = spec.type === 'microvm' ? 0 : (command.board?.ports ?? slots.portsUsed + sparePorts);
  const usb = spec.type !== 'microvm' && (spec.graphics || spec.usb.length > 0);
  return [
    qemu,
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-uuid', spec.uuid],
    ...typeOptions(spec, command, firmware !== undefined),
    ...(firmware && spec.firmware === 'uefi-secure'
      ? ['-global', 'driver=cfi.pflash01,property=secure,value=on']
      : []),
    // QEMU's transport is the one before virtio 1.0 unless told otherwise.
    ...(spec.type === 'microvm' ? ['-global', 'virtio-mmio.force-legacy=false'] : []),
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-rtc', 'base=utc,driftfix=slew'].slice(0, spec.arch === 'x86_64' ? 2 : 0),
    ...(spec.unikernel ? ['-no-reboot'] : []),
    ...(spec.boot.length > 0 && !spec.kernel ? ['-boot', 'strict=on'] : []),
    ...kernelOptions(command),
    ...(command.incoming ? ['-incoming', 'defer'] : []),
    ...(hardware.restoreFrom && 'snapshot' in hardware.restoreFrom ? ['-S'] : []),
    ...['-chardev', `socket,id=console,fd=${descriptors.console}`, '-serial', 'chardev:console'],
    ...monitors.flatMap((name) => [
      ...[
        '-chardev',
        `socket,id=mon-${name},path=${machinePaths.socket(generation, name)},server=on,wait=off`,
      ],
      ...['-mon', `chardev=mon-${name},mode=control`],
    ]),
    ...['-chardev', `socket,id=agent,path=${machinePaths.socket(generation, 'agent')},server=on,wait=off`],
    ...helperOptions(command),
    ...['-object', 'rng-random,id=rng,filename=/dev/urandom'],
    ...nodes.flatMap((node) => ['-blockdev', JSON.stringify(node)]),
    ...command.links.flatMap(({ index }, nth) => {
      const fd = String(descriptors.tap(nth, command.helpers.length));
      return ['-netdev', JSON.stringify({ type: 'tap', id: `tap${index}`, fd, vhost: false })];
    }),
    ...(spec.graphics ? ['-vnc', `unix:${machinePaths.socket(generation, 'vnc')}`] : []),
    // What has a slot of its own comes before what takes the next one.
    ...[
      ...(pcScreen ? screen : []),
      ...(usb ? usbDevices : []),
      ...Slots.ports(ports),
      ...slots.devices,
      ...devices,
    ].flatMap((device) => ['-device', JSON.stringify(device)]),
  ];
}

/** Where a unikernel writes its exit code: QEMU ends with it. */
const exitDevice: Node = { driver: 'isa-debug-exit', iobase: 0x501, iosize: 4 };

const usbDevices: Node[] = [
  { driver: 'qemu-xhci', id: 'usb', bus: 'pcie.0' },
  { driver: 'usb-tablet', id: 'tablet', bus: 'usb.0' },
];

/** From 1: 0 is that of a kernel which is given. */
function bootIndex(boot: string[], target: string): number | undefined {
  const index = boot.indexOf(target);
  return index < 0 ? undefined : index + 1;
}

function blockNodes({ hardware, visible, firmware }: QemuCommand): Node[] {
  const { spec, disks, seed } = hardware;
  return [
    ...(firmware ? firmwareNodes(firmware) : []),
    ...spec.disks.flatMap((disk, index) =>
      diskNodes(disk, disks[index] as { path: string; chain: string[] }, visible),
    ),
    ...spec.cdroms.flatMap(({ target, path }) =>
      path === undefined ? [] : [mediumNode(target, visible(path))],
    ),
    ...(seed === undefined ? [] : [mediumNode(seedTarget, visible(seed))]),
  ];
}

/** Each machine has NVRAM of its own, which snapshots of its disks hold too. */
function firmwareNodes({ code, nvram }: { code: string; nvram: string }): Node[] {
  return [
    {
      driver: 'raw',
      'node-name': 'code',
      'read-only': true,
      file: { driver: 'file', filename: code, 'read-only': true },
    },
    { driver: 'file', 'node-name': 'file-nvram', filename: nvram },
    { driver: 'qcow2', 'node-name': 'nvram', file: 'file-nvram', backing: null },
  ];
}

/** First, so that the guest finds them where it always did. */
function serialDevices(slots: Slots): Node[] {
  return [
    { ...slots.virtio('virtio-serial', 'serial'), max_ports: 4 },
    {
      driver: 'virtserialport',
      bus: 'serial.0',
      id: 'agent',
      chardev: 'agent',
      name: 'org.qemu.guest_agent.0',
    },
  ];
}

function blockDevices({ spec, seed }: MachineHardware, slots: Slots): Node[] {
  return [
    ...spec.disks.map((disk) => diskDevice(disk, slots, bootIndex(spec.boot, disk.target))),
    ...spec.cdroms.map(({ target, path }) =>
      cdDevice(target, path !== undefined, spec.type, slots, bootIndex(spec.boot, target)),
    ),
    ...(seed === undefined ? [] : [seedDevice(spec, slots)]),
  ];
}

/**
 * Kernels of cloud images know virtio and no AHCI (Debian's, for one), others know AHCI and no virtio: the seed is where
 * the disk is that the guest boots from.
 */
function seedDevice(spec: MachineHardware['spec'], slots: Slots): Node {
  const [disk] = spec.disks;
  const virtio = !disk || disk.bus === 'virtio' || (disk.bus === 'scsi' && disk.controller === undefined);
  if (spec.type !== 'q35' || !virtio) return cdDevice(seedTarget, true, spec.type, slots, undefined);
  return { driver: 'scsi-cd', ...slots.scsi(), id: seedTarget, drive: seedTarget };
}

function shareDevices({ hardware }: QemuCommand, slots: Slots): Node[] {
  return hardware.spec.shares.map(({ tag }, index) => ({
    ...slots.virtio('vhost-user-fs', `share${index}`),
    chardev: `share${index}`,
    tag,
    'queue-size': 1024,
  }));
}

function commonDevices(slots: Slots): Node[] {
  return [
    { ...slots.virtio('virtio-rng', 'random'), rng: 'rng' },
    { ...slots.virtio('virtio-balloon', 'balloon'), 'free-page-reporting': true },
  ];
}

/** What {@link typeOptions} has made the backend of. */
function pluggedMemory({ board }: QemuCommand, slots: Slots): Node[] {
  if (board?.memory.room === undefined) return [];
  return [pluggedMemoryDevice(slots.port(memoryDevice))];
}

function screenDevices(type: string, slots: Slots): Node[] {
  if (type === 'q35') return [{ driver: 'virtio-vga', id: 'screen', bus: 'pcie.0' }];
  return [
    slots.virtio('virtio-gpu', 'screen'),
    ...(type === 'virt' ? [{ driver: 'usb-kbd', id: 'keyboard', bus: 'usb.0' }] : []),
  ];
}

function kernelOptions({ hardware: { spec }, visible, bootLoader }: QemuCommand): string[] {
  if (!spec.kernel) return bootLoader === undefined ? [] : ['-kernel', bootLoader];
  const { path, initrd, arguments: line } = spec.kernel;
  return [
    ...['-kernel', visible(path)],
    ...(initrd === undefined ? [] : ['-initrd', visible(initrd)]),
    ...(line === '' ? [] : ['-append', line]),
  ];
}

/** The sockets that the helpers listen at, which the supervisor has connected. */
function helperOptions({ helpers, hardware: { spec } }: QemuCommand): string[] {
  return helpers.flatMap(({ name }, index) => {
    const socket = ['-chardev', `socket,id=${name},fd=${descriptors.helper(index)}`];
    if (name !== 'tpm') return socket;
    const model = spec.arch === 'x86_64' ? 'tpm-crb' : 'tpm-tis-device';
    return [
      ...socket,
      '-tpmdev',
      'emulator,id=tpm0,chardev=tpm',
      '-device',
      `{"driver":"${model}","tpmdev":"tpm0"}`,
    ];
  });
}

import type { MachineSpec } from '../../../engine/machine.ts';
import { type Board, memoryBackend, memoryDevice, memoryStep } from '../board.ts';
import { translatedSize } from '../translated.ts';
import type { Node } from './blocks.ts';

const mib = 1024 * 1024;

export interface Acceleration {
  accelerator: 'kvm' | 'tcg';
  /** Of a QEMU whose memory it takes over. */
  board?: Board;
}

/** The board, its processors and memory; sizes in whole MiB. */
export function typeOptions(
  spec: MachineSpec,
  { accelerator, board }: Acceleration,
  pflash: boolean,
): string[] {
  const memory = Math.floor((board?.memory.base ?? spec.memory) / mib);
  const shared = spec.shares.length > 0;
  return [
    ...['-machine', boardOf(spec, pflash)],
    ...['-accel', accelerator === 'kvm' ? 'kvm' : `tcg,tb-size=${translatedSize(spec)},thread=multi`],
    ...['-cpu', spec.cpuModel ?? defaultCpu(spec, accelerator)],
    ...['-smp', cpusOf(spec, board)],
    ...['-m', memoryOf(spec, memory)],
    // What virtiofsd maps, too, is a file without a name.
    ...[
      '-object',
      shared
        ? `memory-backend-memfd,id=memory,size=${memory}M,share=on`
        : `memory-backend-ram,id=memory,size=${memory}M`,
    ],
    ...(board?.memory.room === undefined
      ? []
      : ['-object', JSON.stringify(pluggedMemoryBackend(board.memory.room, shared))]),
  ];
}

function boardOf({ type, arch, firmware, unikernel }: MachineSpec, pflash: boolean): string {
  const options = ['memory-backend=memory', 'dump-guest-core=off'];
  // Debian's kernel finds virtio-mmio devices by ACPI alone; unikernels by QEMU's words on their command line.
  if (type === 'microvm')
    options.push(`acpi=${unikernel ? 'off' : 'on'}`, 'rtc=on', 'pit=on', 'pic=on', 'isa-serial=on');
  if (type === 'q35') options.push(`smm=${firmware === 'uefi-secure' ? 'on' : 'off'}`, 'vmport=off');
  if (arch === 'aarch64') options.push('gic-version=max');
  if (pflash) options.push('pflash0=code', 'pflash1=nvram');
  return [type, ...options].join();
}

/** V8's guard of its code pages trips over TCG's emulation of protection keys. */
function defaultCpu({ arch }: MachineSpec, accelerator: 'kvm' | 'tcg'): string {
  if (accelerator === 'kvm') return 'host';
  if (arch === 'x86_64') return 'max,pku=off';
  return arch === 'aarch64' ? 'max' : 'rv64';
}

/** Each its own socket, as processors that are plugged in later are. */
function cpusOf({ vcpus, maxVcpus = vcpus }: MachineSpec, board: Board | undefined): string {
  return `cpus=${board?.vcpus.base || vcpus},maxcpus=${maxVcpus},sockets=${maxVcpus},cores=1,threads=1`;
}

/** Modules of memory that can be plugged in. */
const slots = 16;

function memoryOf({ maxMemory }: MachineSpec, memory: number): string {
  if (maxMemory === undefined) return `size=${memory}M`;
  return `size=${memory}M,slots=${slots},maxmem=${Math.floor(maxMemory / mib)}M`;
}

/** Memory that comes while the machine runs: nothing of it takes any before the guest has it. */
export function pluggedMemoryBackend(room: number, shared: boolean): Node {
  const kind = shared
    ? { 'qom-type': 'memory-backend-memfd', share: true }
    : { 'qom-type': 'memory-backend-ram' };
  return { ...kind, id: memoryBackend, size: room, reserve: false };
}

export function pluggedMemoryDevice(bus: string): Node {
  return {
    driver: 'virtio-mem-pci',
    id: memoryDevice,
    bus,
    memdev: memoryBackend,
    'requested-size': 0,
    'block-size': memoryStep,
  };
}

import { monitorPaths } from './monitor-paths.ts';
import { ports } from './protocol.ts';

/** What QEMU is told; sizes in bytes. */
export interface Machine {
  qemu: string;
  /** `microvm`, `q35` or (arm64) `virt`. */
  type: string;
  accelerator: 'kvm' | 'tcg';
  /** kHz of the host's time stamp counter. */
  tsc?: number;
  arch: string;
  cpus: number;
  memory: number;
  kernel: string;
  initramfs: string;
  /** Further arguments of the guest's kernel. */
  kernelArguments: string;
  taps: { name: string; macAddress: string }[];
}

/** Descriptors that the shim gives QEMU (native/shim/main.c). */
const descriptors = { share: 3, workload: 4, console: 5 } as const;

/** Tag of the share in the guest. */
export const shareTag = 'isle';

const mib = 1024 * 1024;

/**
 * QEMU's command line. It opens no file but the kernel and the initramfs, makes two sockets, and forbids itself to start
 * programs, to change its user or its limits (`-sandbox`).
 *
 * Guest memory is a memfd, since virtiofsd must map it too. TCG's translated code is bounded: it would grow to 1 GiB.
 */
export function qemuCommand(machine: Machine): string[] {
  const bus = busOf(machine.type);
  const memory = Math.floor(machine.memory / mib);
  return [
    machine.qemu,
    ...['-machine', machineOf(machine)],
    ...['-accel', machine.accelerator === 'kvm' ? 'kvm' : 'tcg,tb-size=32,thread=multi'],
    ...['-cpu', cpuOf(machine), '-smp', String(machine.cpus), '-m', `${memory}M`],
    ...['-object', `memory-backend-memfd,id=memory,size=${memory}M,share=on`],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    // QEMU's transport is the one before virtio 1.0 unless told otherwise, and vhost-user knows only the later.
    ...(bus === 'device' ? ['-global', 'virtio-mmio.force-legacy=false'] : []),
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-kernel', machine.kernel, '-initrd', machine.initramfs, '-append', kernelArguments(machine)],
    ...['-chardev', `socket,id=console,fd=${descriptors.console}`, '-serial', 'chardev:console'],
    ...['-chardev', `socket,id=share,fd=${descriptors.share}`],
    ...['-device', `vhost-user-fs-${bus},chardev=share,tag=${shareTag},queue-size=1024`],
    ...['-device', `virtio-serial-${bus},max_ports=3`],
    ...['-chardev', `socket,id=workload,fd=${descriptors.workload}`],
    ...['-device', `virtserialport,chardev=workload,name=${ports.workload},nr=1`],
    ...['-chardev', `socket,id=agent,path=${monitorPaths.agent},server=on,wait=off`],
    ...['-device', `virtserialport,chardev=agent,name=${ports.agent},nr=2`],
    ...['-device', `virtio-balloon-${bus},id=balloon,free-page-reporting=on`],
    ...['-qmp', `unix:${monitorPaths.qmp},server=on,wait=off`],
    ...machine.taps.flatMap(({ name, macAddress }, index) => [
      ...['-netdev', `tap,id=net${index},ifname=${name},script=no,downscript=no,vhost=off`],
      ...['-device', `virtio-net-${bus},netdev=net${index},mac=${macAddress}`],
    ]),
  ];
}

function machineOf({ type, arch }: Machine): string {
  const common = ['memory-backend=memory'];
  // Debian's kernel finds virtio-mmio devices by ACPI alone.
  if (type === 'microvm') common.push('acpi=on', 'rtc=on');
  if (type === 'q35') common.push('smm=off', 'vmport=off');
  if (arch === 'arm64') common.push('gic-version=max');
  return [type, ...common].join();
}

/** V8's guard of its code pages trips over TCG's emulation of protection keys. */
function cpuOf({ accelerator, arch }: Machine): string {
  if (accelerator === 'kvm') return 'host';
  return arch === 'x64' ? 'max,pku=off' : 'max';
}

function busOf(type: string): 'device' | 'pci' {
  return type === 'q35' ? 'pci' : 'device';
}

/**
 * Under TCG the guest's kernel cannot measure its clock while the host is busy: it is told. It need not defend itself against
 * its processor's side channels, which the emulation does not have, nor test its timer; and clearing all memory before it is
 * used (`init_on_alloc`), against leaks from this kernel to its own workload, is another tenth of its boot. `oops=panic
 * panic=-1 reboot=t` ends the VM at once when its kernel falls over: Debian's 6.1 may when a process is killed that waits for
 * a file of the share, and the workload would never end. Naming the numbers in all formats of trace events
 * (`trace_eval_init`) is a tenth of what a kernel does before its first process, and for people who trace.
 */
function kernelArguments({ accelerator, arch, tsc, kernelArguments: further }: Machine): string {
  const console = arch === 'arm64' ? 'ttyAMA0' : 'ttyS0';
  const common = `console=${console} quiet oops=panic panic=-1 reboot=t cryptomgr.notests i8042.noaux i8042.nokbd random.trust_cpu=on initcall_blacklist=trace_eval_init`;
  const emulated =
    accelerator === 'tcg' ? ' nokaslr mitigations=off init_on_alloc=0 tsc=reliable no_timer_check' : '';
  const clock = tsc === undefined ? '' : ` tsc_early_khz=${tsc}`;
  return `${common}${emulated}${clock}${further === '' ? '' : ` ${further}`}`;
}

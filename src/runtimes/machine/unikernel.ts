import type { MachineHardware } from '../../engine/machine.ts';
import type { WiredLink } from '../../host/guest-link.ts';

/**
 * A unikernel's hardware with its arguments filled in: it has no way to ask for its address but the ones it was built with,
 * and most take it from their command line. A name without a value becomes nothing. `weak`: KVM that runs tiny guests
 * alone (nested PVM), which refuses the model of the host's own processor.
 */
export function unikernelHardware(
  hardware: MachineHardware,
  { links, hostname, weak }: { links: WiredLink[]; hostname: string; weak: boolean },
): MachineHardware {
  const { spec } = hardware;
  if (!spec.unikernel || !spec.kernel) return hardware;
  const values = valuesOf(links[0], hostname);
  const line = spec.kernel.arguments.replaceAll(
    /\{(\w+)\}/g,
    (text, name: string) => values.get(name) ?? text,
  );
  return {
    ...hardware,
    spec: {
      ...spec,
      kernel: { ...spec.kernel, arguments: line },
      ...(weak && spec.cpuModel === undefined && { cpuModel: 'qemu64' }),
    },
  };
}

/**
 * What QEMU's code says of a unikernel that ran: isa-debug-exit makes the odd 2n+1 of the n it is given (Nanos and OSv end so).
 * Undefined: QEMU ended otherwise.
 */
export function unikernelExitCode(code: number | undefined): number | undefined {
  return code !== undefined && code % 2 === 1 ? (code - 1) / 2 : undefined;
}

function valuesOf(link: WiredLink | undefined, hostname: string): Map<string, string> {
  const [ip = '', prefix = ''] = link?.addresses.find((address) => !address.includes(':'))?.split('/') ?? [];
  const gateway = link?.routes.find((route) => route.gateway !== undefined && !route.gateway.includes(':'));
  return new Map([
    ['ip', ip],
    ['prefix', prefix],
    ['netmask', prefix === '' ? '' : netmaskOf(Number(prefix))],
    ['gateway', gateway?.gateway ?? ''],
    ['mac', link?.macAddress ?? ''],
    ['hostname', hostname],
  ]);
}

function netmaskOf(prefix: number): string {
  const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join('.');
}

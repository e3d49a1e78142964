import { kernelKind } from '../../host/kernel-kind.ts';
import { isleError } from '../../lib/errors.ts';
import type { MachineSpec } from '../machine.ts';

/** The name of the runtime for machines that are nothing but a kernel. */
export const unikernelRuntime = 'unikernel';

/**
 * The machine that a unikernel boots on: the smallest that its boot protocol allows. A Multiboot kernel is loaded by a BIOS,
 * which QEMU's microvm has none of. Throws `invalidParameter` for a file that is no kernel.
 */
export async function unikernelHardware<T extends Omit<MachineSpec, 'uuid' | 'snapshots' | 'disks'>>(
  hardware: T,
): Promise<T> {
  if (!hardware.kernel)
    throw isleError('invalidParameter', {
      message: 'a unikernel is a kernel and nothing else: say which with --kernel FILE',
    });
  if (hardware.arch !== 'x86_64') return { ...hardware, unikernel: true };
  const kind = await kernelKind(hardware.kernel.path);
  return { ...hardware, unikernel: true, type: kind === 'multiboot' ? 'q35' : 'microvm' };
}

import { readFile } from 'node:fs/promises';
import { pageOutFile } from '../../host/page-out.ts';
import type { MicrovmParts } from './parts.ts';

/**
 * QEMU keeps the file of the kernel that it has copied into its guest mapped, for a reset that never comes: 46 MB of
 * Debian's. Never rejects: an older host, or a monitor that has ended meanwhile, loses nothing but memory.
 */
export async function dropKernel({ oci, confinement, log }: MicrovmParts, monitor: string): Promise<void> {
  try {
    const { kernel } = await confinement();
    for (const pid of await oci.processes(monitor))
      if ((await readFile(`/proc/${pid}/comm`, 'latin1')).startsWith('qemu'))
        await pageOutFile(pid, kernel.kernel);
  } catch (error) {
    log.debug({ container: monitor, err: error }, "the guest kernel's file stays in its monitor's memory");
  }
}

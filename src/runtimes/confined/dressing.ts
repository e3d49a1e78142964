import type { RuntimeTraits } from '../../engine/runtime.ts';
import type { Dressing } from '../oci/dressing.ts';

/** User and group of QEMU inside its container. What supervises it, and virtiofsd, are root there. */
export const qemuUser = 65_534;

/**
 * What an ordinary container's configuration does not say: its devices are QEMU's alone.
 */
export function monitorDressing(name: string, traits: RuntimeTraits): Dressing {
  return {
    name,
    traits,
    dress: async (workload) => ({
      workload,
      change({ linux }) {
        // Never the host's network: one that has no pod yet gets an empty namespace.
        if (!linux.namespaces.some(({ type }) => type === 'network'))
          linux.namespaces.push({ type: 'network' });
        for (const device of linux.devices)
          Object.assign(device, { fileMode: 0o600, uid: qemuUser, gid: qemuUser });
      },
    }),
  };
}

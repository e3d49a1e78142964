import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isleError } from '../../../lib/errors.ts';

interface PciDevice {
  qdev_id?: string;
  pci_bridge?: { devices?: PciDevice[] };
}

/** A PCIe root port that nothing is plugged into. Throws `conflict` when there is none. */
export async function freePort(qmp: Qmp): Promise<string> {
  const buses = await qmp.execute<{ devices: PciDevice[] }[]>('query-pci');
  const port = buses
    .flatMap(({ devices }) => devices)
    .find(({ qdev_id: id, pci_bridge: bridge }) => id?.startsWith('port') && !bridge?.devices?.length);
  if (port?.qdev_id !== undefined) return port.qdev_id;
  throw isleError('conflict', {
    message: 'the machine has no free slot left to plug a device into: stop it, and change its hardware then',
  });
}

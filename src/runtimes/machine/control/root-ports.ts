import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isleError } from '../../../lib/errors.ts';

/** A PCIe root port that nothing is plugged into. Throws `conflict` when there is none. */
export async function freePort(qmp: Qmp): Promise<string> {
  for (const name of await listOf(qmp, '/machine/peripheral')) {
    // Not by query-pci: before the firmware has numbered the buses it shows them all empty.
    if (!/^port\d+$/.test(name)) continue;
    const inside = await listOf(qmp, `/machine/peripheral/${name}/${name}`);
    if (!inside.some((each) => each.startsWith('child['))) return name;
  }
  throw isleError('conflict', {
    message: 'the machine has no free slot left to plug a device into: stop it, and change its hardware then',
  });
}

async function listOf(qmp: Qmp, path: string): Promise<string[]> {
  const found = await qmp.execute<{ name?: unknown }[]>('qom-list', { path });
  return found.map(({ name }) => String(name));
}

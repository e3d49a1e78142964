import { isIsleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import { networksOf } from '../containers/pod-network.ts';
import { isRunning } from '../containers/records.ts';
import type { MachineCard } from '../machines.ts';
import { findMachine } from './record.ts';

/** As its guest has them, or will have them at its next start. */
export function cardsOf(ctx: Pick<EngineContext, 'records' | 'network'>, reference: string): MachineCard[] {
  const { id, spec, state } = findMachine(ctx, reference);
  const live = isRunning(state) ? (ctx.network.attachment(id)?.endpoints ?? []) : [];
  return networksOf(spec)
    .filter(({ network }) => network !== 'none')
    .map(({ network: wanted, endpoint }, at) => {
      const network = nameOf(ctx, wanted);
      const now = live.find(({ networkName }) => networkName === network);
      return {
        network,
        model: spec.machine.nicModels[at] ?? 'virtio',
        macAddress: now?.macAddress || endpoint.macAddress,
        interface: now?.interfaceName,
        ipv4: now?.ipv4?.address,
        ipv6: now?.ipv6?.address,
      };
    });
}

/** One that is gone is called as it was asked for. */
function nameOf({ network }: Pick<EngineContext, 'network'>, reference: string): string {
  try {
    return network.get(reference).name;
  } catch (error) {
    if (isIsleError(error, 'noSuchNetwork', 'ambiguousId')) return reference;
    throw error;
  }
}

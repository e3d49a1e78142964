import { randomBytes } from 'node:crypto';
import { networksOf } from '../containers/pod-network.ts';
import type { EngineContext } from '../context.ts';
import type { EndpointSpec } from '../model.ts';
import type { MachineRecord } from './record.ts';

/**
 * Gives each network card that has none an Ethernet address for good: a guest knows its cards by them, over restarts and in a
 * memory that it goes on from.
 */
export function keepMacAddresses(ctx: Pick<EngineContext, 'records'>, record: MachineRecord): MachineRecord {
  const { spec } = record;
  const cards = networksOf(spec).filter(({ network }) => network !== 'none' && network !== 'host');
  if (cards.every(({ endpoint }) => endpoint.macAddress)) return record;
  const networks = { ...spec.networks };
  for (const { network, endpoint } of cards) {
    const key =
      Object.hasOwn(networks, spec.networkMode) && network === modeOf(spec) ? spec.networkMode : network;
    networks[key] = withMacAddress(endpoint);
  }
  const changed = ctx.records.change(record.id, () => ({ spec: { ...spec, networks } }));
  return { ...changed, spec: { ...changed.spec, machine: spec.machine } };
}

export function withMacAddress(endpoint: EndpointSpec): EndpointSpec {
  return endpoint.macAddress ? endpoint : { ...endpoint, macAddress: newMacAddress() };
}

/** In the range of QEMU's own, which is nobody's hardware. */
function newMacAddress(): string {
  return `52:54:00:${randomBytes(3).toString('hex').match(/../g)!.join(':')}`;
}

function modeOf({ networkMode }: MachineRecord['spec']): string {
  return networkMode === '' || networkMode === 'default' ? 'bridge' : networkMode;
}

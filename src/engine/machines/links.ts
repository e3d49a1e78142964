import { isleError } from '../../lib/errors.ts';
import type { Rollback } from '../../lib/rollback.ts';
import type { Endpoint } from '../../network/network.ts';
import { networksOf } from '../containers/pod-network.ts';
import type { EngineContext } from '../context.ts';
import type { EndpointSpec } from '../model.ts';
import { controlOf, type MachineRecord } from './record.ts';

/** A driver option of an endpoint: which network card a machine gets for it. */
export const nicModelOption = 'isle.nic.model';

/** Plugs a card for a network that the machine's pod has just joined, and lets its guest find its address. */
export async function plugLink(
  ctx: EngineContext,
  record: MachineRecord,
  { interfaceName }: Endpoint,
  model: string,
  undo: Rollback,
): Promise<void> {
  const { control } = controlOf(ctx, record.id);
  undo.add('card', () => control.unplugLink(record.id, interfaceName));
  await control.plugLink(record.id, { name: interfaceName, model });
  await ctx.network.serveGuest(record.id);
}

/** Before its pod leaves the network: the guest has to let go of the card. */
export async function unplugLink(
  ctx: EngineContext,
  record: MachineRecord,
  networkId: string,
): Promise<void> {
  const { control } = controlOf(ctx, record.id);
  const endpoint = ctx.network.attachment(record.id)?.endpoints.find((one) => one.networkId === networkId);
  if (endpoint && endpoint.interfaceName !== '') await control.unplugLink(record.id, endpoint.interfaceName);
}

/** The card that an endpoint asks for. Throws `invalidParameter`. */
export function nicModelOf({ driverOptions }: EndpointSpec): string {
  const model = driverOptions?.[nicModelOption] ?? 'virtio';
  if (!/^[a-z][a-z0-9_-]{1,31}$/.test(model))
    throw isleError('invalidParameter', {
      message: `invalid network card ${JSON.stringify(model)}: see "isle help vm attach-interface"`,
    });
  return model;
}

/** The models of a machine's cards when a network is added at the end of its own, or taken out of them. */
export function modelsWith({ spec }: MachineRecord, model: string): string[] {
  return [...modelsOf(spec), model];
}

export function modelsWithout({ spec }: MachineRecord, key: string): string[] {
  const keys = networksOf(spec).map(({ network }) => network);
  return modelsOf(spec).filter((_, index) => keys[index] !== key && keys[index] !== aliasOf(key));
}

/** One for each network. */
function modelsOf(spec: MachineRecord['spec']): string[] {
  return networksOf(spec)
    .filter(({ network }) => network !== 'none')
    .map((_, index) => spec.machine.nicModels[index] ?? 'virtio');
}

function aliasOf(key: string): string {
  return key === 'default' || key === '' ? 'bridge' : key;
}

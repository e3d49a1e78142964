import type { EngineContext } from '../context.ts';
import type { MachineEndpoint, MachineHardwareSpec, MachineMoment, MachineSpec } from '../machine.ts';
import type { ContainerRecord } from '../containers/record.ts';
import type { EndpointSpec } from '../model.ts';

/** What a start goes on from, when it does not boot. */
export interface Continuation extends MachineMoment {
  restoreFrom: { path: string } | { snapshot: string };
}

/** The memory that a start of this machine would go on from: of a revert that is under way, or saved. `path`: where that is. */
export function continuationOf(
  ctx: Pick<EngineContext, 'intents'>,
  { id, spec }: ContainerRecord,
  path: string,
): Continuation | undefined {
  const { machine } = spec;
  if (machine === undefined) return undefined;
  const revert = ctx.intents.get('machine-revert', id);
  if (revert?.then === 'continue') {
    const snapshot = machine.snapshots.find(({ name }) => name === revert.name);
    if (snapshot)
      return {
        hardware: snapshot.hardware,
        endpoints: snapshot.endpoints ?? [],
        restoreFrom: { snapshot: revert.name },
      };
  }
  if (!machine.saved) return undefined;
  const { hardware, endpoints } = machine.savedWith ?? { hardware: hardwareOf(machine), endpoints: [] };
  return { hardware, endpoints, restoreFrom: { path } };
}

/** Without what has happened to it. */
export function hardwareOf({
  snapshots: _snapshots,
  currentSnapshot: _current,
  saved: _saved,
  savedWith: _with,
  ...hardware
}: MachineSpec): MachineHardwareSpec {
  return hardware;
}

/** What its guest knows of the network now. */
export function endpointsOf(ctx: Pick<EngineContext, 'network'>, id: string): MachineEndpoint[] {
  return (ctx.network.attachment(id)?.endpoints ?? [])
    .filter(({ macAddress }) => macAddress !== '')
    .map(({ networkName, macAddress, ipv4, ipv6 }) => ({
      network: networkName,
      macAddress,
      ...(ipv4 && { ipv4: ipv4.address }),
      ...(ipv6 && { ipv6: ipv6.address }),
    }));
}

/** A guest that goes on has the addresses that it had; what the user asked for stays. */
export function returningEndpoint(
  network: string,
  endpoint: EndpointSpec,
  had: readonly MachineEndpoint[],
): EndpointSpec {
  const found = had.find((one) => one.network === network);
  if (!found) return endpoint;
  return {
    ...endpoint,
    macAddress: endpoint.macAddress || found.macAddress,
    ipv4Address: endpoint.ipv4Address || found.ipv4,
    ipv6Address: endpoint.ipv6Address || found.ipv6,
    ...(!endpoint.ipv4Address && !endpoint.ipv6Address && { returning: true }),
  };
}

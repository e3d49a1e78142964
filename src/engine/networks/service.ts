import { isleError } from '../../lib/errors.ts';
import { Rollback } from '../../lib/rollback.ts';
import type { Attachment, NetworkRecord, NetworkSpec } from '../../network/network.ts';
import { refreshNetworkFiles } from '../containers/identity.ts';
import { ownsPod } from '../containers/pod-network.ts';
import type { ContainerRecord } from '../containers/record.ts';
import { isRunning } from '../containers/records.ts';
import type { EngineContext } from '../context.ts';
import type { Networks } from '../engine.ts';
import type { EndpointSpec } from '../model.ts';
import {
  modelsWith,
  modelsWithout,
  nicModelOf,
  nicModelOption,
  plugLink,
  unplugLink,
} from '../machines/links.ts';
import { withMacAddress } from '../machines/mac-addresses.ts';
import { changeMachine, controlOf, isMachine, type MachineRecord } from '../machines/record.ts';
import { parsePruneFilters } from '../prune-filters.ts';

/** Networks as clients see them: those of `network/`, and who is to be in them while stopped. */
export class NetworkService implements Networks {
  #ctx: EngineContext;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  async create(spec: NetworkSpec, _checkDuplicate: boolean): Promise<{ id: string; warning: string }> {
    const record = await this.#ctx.queue.run('networks', async () => {
      if (this.list().some(({ name }) => name === spec.name))
        throw isleError('conflict', { message: `network with name ${spec.name} already exists` });
      return await this.#ctx.network.create(spec);
    });
    this.#publish('create', record);
    return { id: record.id, warning: '' };
  }

  get(idOrName: string): NetworkRecord {
    return this.#ctx.network.get(idOrName);
  }

  list(): NetworkRecord[] {
    return this.#ctx.network.list();
  }

  async remove(idOrName: string): Promise<void> {
    await this.#ctx.queue.run('networks', async () => {
      const record = this.get(idOrName);
      if (record.builtIn)
        throw isleError('forbidden', {
          message: `${record.name} is a pre-defined network and cannot be removed`,
        });
      const active = this.#activeIn(record);
      if (active.length > 0)
        throw isleError('forbidden', {
          message: `error while removing network: network ${record.name} has active endpoints (${active
            .map(({ name, id }) => `name:"${name}" id:"${id.slice(0, 12)}"`)
            .join(', ')})`,
        });
      await this.#ctx.network.remove(record.id);
      this.#publish('destroy', record);
    });
  }

  async connect(network: string, container: string, asked: EndpointSpec): Promise<void> {
    const { id } = this.#ctx.records.find(container);
    await this.#ctx.queue.run(id, async () => {
      const record = this.#ctx.records.find(id);
      const endpoint = isMachine(record) ? withMacAddress(asked) : asked;
      const net = this.get(network);
      checkConnectable(record, net);
      if (memberOf(record, net))
        throw isleError('forbidden', {
          message: `endpoint with name ${record.name} already exists in network ${net.name}`,
        });
      this.#checkChangeable(record);
      checkOptions(record, endpoint);
      await using undo = new Rollback();
      if (isRunning(record.state)) await this.#join(record, net, endpoint, undo);
      this.#ctx.store.transaction(() => {
        this.#setNetworks(record, { ...record.spec.networks, [net.name]: withoutModel(endpoint) });
        if (isMachine(record)) this.#setModels(record, modelsWith(record, nicModelOf(endpoint)));
        this.#publish('connect', net, { container: id });
      });
      undo.keep();
    });
  }

  async #join(
    record: ContainerRecord,
    net: NetworkRecord,
    spec: EndpointSpec,
    undo: Rollback,
  ): Promise<void> {
    const before = this.#ctx.network.attachment(record.podId);
    if (isMachine(record)) controlOf(this.#ctx, record.id);
    // Half of what a daemon did that died before it could say so.
    if (isIn(before, net)) await this.#leave(record, net);
    const endpoint = await this.#ctx.network.connect(record.id, net.id, withoutModel(spec));
    undo.add('network', () => this.#ctx.network.disconnect(record.id, net.id));
    if (isMachine(record)) await plugLink(this.#ctx, record, endpoint, nicModelOf(spec), undo);
    else await refreshNetworkFiles(this.#ctx, record, before);
  }

  async #leave(record: ContainerRecord, net: NetworkRecord): Promise<void> {
    const before = this.#ctx.network.attachment(record.podId);
    if (isMachine(record)) await unplugLink(this.#ctx, record, net.id);
    if (isIn(before, net)) await this.#ctx.network.disconnect(record.id, net.id);
    if (isMachine(record)) await this.#ctx.network.serveGuest(record.id);
    else await refreshNetworkFiles(this.#ctx, record, before);
  }

  async disconnect(network: string, container: string, force: boolean): Promise<void> {
    const found = this.#findOrForget(container, force);
    if (!found) return;
    const { id } = found;
    await this.#ctx.queue.run(id, async () => {
      const record = this.#ctx.records.find(id);
      const net = this.get(network);
      if (net.name === 'host')
        throw isleError('forbidden', { message: 'container cannot be disconnected from host network' });
      const key = memberOf(record, net);
      if (key === undefined)
        throw isleError('forbidden', { message: `container ${id} is not connected to network ${net.name}` });
      this.#checkChangeable(record);
      if (isRunning(record.state)) await this.#leave(record, net);
      this.#ctx.store.transaction(() => {
        if (isMachine(record)) this.#setModels(record, modelsWithout(record, key));
        this.#forget(record, net, key);
        this.#publish('disconnect', net, { container: id });
      });
    });
  }

  async prune(filters: Record<string, string[]>): Promise<string[]> {
    const { matches } = parsePruneFilters(filters, ['label', 'label!', 'until']);
    const removed: string[] = [];
    for (const record of this.list()) {
      if (record.builtIn || !matches(record.labels, record.createdAt) || this.#usersOf(record).length > 0)
        continue;
      await this.remove(record.id);
      removed.push(record.name);
    }
    this.#ctx.events.publish('network', 'prune', '', { reclaimed: '0' });
    return removed;
  }

  /** A kernel of its own got its interfaces when it started; a full virtual machine's cards are plugged. */
  #checkChangeable({ name, runtimeName, state }: ContainerRecord): void {
    const traits = this.#ctx.runtimes.get(runtimeName)?.traits;
    if (isRunning(state) && traits?.ownKernel && !traits.machine)
      throw isleError('forbidden', {
        message: `the networks of container ${name} cannot change while it runs: the runtime ${runtimeName} gives it a kernel of its own; stop it first`,
      });
  }

  /** With `force` a container that is gone is no error. */
  #findOrForget(container: string, force: boolean): ContainerRecord | undefined {
    try {
      return this.#ctx.records.find(container);
    } catch (error) {
      if (force) return undefined;
      throw error;
    }
  }

  #forget(record: ContainerRecord, net: NetworkRecord, key: string): void {
    const networks = { ...record.spec.networks };
    delete networks[key];
    delete networks[net.name];
    delete networks[net.id];
    const wasMode = isMode(record, net);
    const [next] = Object.keys(networks);
    const networkMode = wasMode ? (next ?? 'none') : record.spec.networkMode;
    this.#ctx.records.change(record.id, ({ spec }) => ({ spec: { ...spec, networks, networkMode } }));
  }

  #setModels({ id }: MachineRecord, nicModels: string[]): void {
    changeMachine(this.#ctx, id, (machine) => ({ ...machine, nicModels }));
  }

  /** A container that was taken out of its last network gets its mode from the first it is put in again. */
  #setNetworks(record: ContainerRecord, networks: Record<string, EndpointSpec>): void {
    const { networkMode: mode } = record.spec;
    const networkMode = mode === 'none' ? Object.keys(networks)[0]! : mode;
    this.#ctx.records.change(record.id, ({ spec }) => ({ spec: { ...spec, networks, networkMode } }));
  }

  #usersOf(net: NetworkRecord): ContainerRecord[] {
    return this.#ctx.records.all().filter((record) => memberOf(record, net) !== undefined);
  }

  #activeIn(net: NetworkRecord): ContainerRecord[] {
    return this.#usersOf(net).filter(
      (record) => isRunning(record.state) && net.endpoints[record.podId] !== undefined,
    );
  }

  #publish(action: string, net: NetworkRecord, more: Record<string, string> = {}): void {
    this.#ctx.events.publish('network', action, net.id, { name: net.name, type: net.driver, ...more });
  }
}

function isIn(attachment: Attachment | undefined, net: NetworkRecord): boolean {
  return attachment?.endpoints.some(({ networkId }) => networkId === net.id) ?? false;
}

/** Which card it is, is no matter of the network's driver. */
function withoutModel(spec: EndpointSpec): EndpointSpec {
  if (spec.driverOptions?.[nicModelOption] === undefined) return spec;
  const { [nicModelOption]: _model, ...driverOptions } = spec.driverOptions;
  return { ...spec, driverOptions };
}

function checkOptions(record: ContainerRecord, endpoint: EndpointSpec): void {
  nicModelOf(endpoint);
  if (endpoint.driverOptions?.[nicModelOption] !== undefined && !isMachine(record))
    throw isleError('invalidParameter', {
      message: `${nicModelOption} says which network card a virtual machine gets: the container ${record.name} has none`,
    });
}

function checkConnectable(record: ContainerRecord, net: NetworkRecord): void {
  if (Object.hasOwn(record.spec.networks, 'none'))
    throw isleError('forbidden', {
      message:
        'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    });
  if (net.name === 'host' || net.name === 'none')
    throw isleError('forbidden', {
      message: `container cannot be connected to the ${net.name} network`,
    });
  if (!ownsPod(record) || record.spec.networkMode === 'host')
    throw isleError('forbidden', {
      message:
        record.spec.networkMode === 'host'
          ? 'cannot disconnect container from host network - container was created in host network mode'
          : 'container sharing network namespace with another container or host cannot be connected to any other network',
    });
}

/** The key under which a container's spec names a network, or undefined when it is not in it. */
function memberOf(record: ContainerRecord, net: NetworkRecord): string | undefined {
  const keys = Object.keys(record.spec.networks);
  const key = keys.find(
    (name) => name === net.name || name === net.id || (name === 'default' && net.name === 'bridge'),
  );
  if (key !== undefined) return key;
  return isMode(record, net) ? record.spec.networkMode : undefined;
}

function isMode({ spec }: ContainerRecord, net: NetworkRecord): boolean {
  const mode = spec.networkMode === '' || spec.networkMode === 'default' ? 'bridge' : spec.networkMode;
  return mode === net.name || mode === net.id || (mode.length >= 12 && net.id.startsWith(mode));
}

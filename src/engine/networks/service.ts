import { isleError } from '../../lib/errors.ts';
import type { NetworkRecord, NetworkSpec } from '../../network/network.ts';
import { refreshNetworkFiles } from '../containers/identity.ts';
import { ownsPod } from '../containers/pod-network.ts';
import type { ContainerRecord } from '../containers/record.ts';
import { isRunning } from '../containers/records.ts';
import type { EngineContext } from '../context.ts';
import type { Networks } from '../engine.ts';
import type { EndpointSpec } from '../model.ts';
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

  async connect(network: string, container: string, endpoint: EndpointSpec): Promise<void> {
    const { id } = this.#ctx.records.find(container);
    await this.#ctx.queue.run(id, async () => {
      const record = this.#ctx.records.find(id);
      const net = this.get(network);
      checkConnectable(record, net);
      if (memberOf(record, net))
        throw isleError('forbidden', {
          message: `endpoint with name ${record.name} already exists in network ${net.name}`,
        });
      const before = this.#ctx.network.attachment(record.podId);
      this.#checkChangeable(record);
      if (isRunning(record.state)) {
        await this.#ctx.network.connect(id, net.id, endpoint);
        await refreshNetworkFiles(this.#ctx, record, before);
      }
      this.#ctx.store.transaction(() => {
        this.#setNetworks(record, { ...record.spec.networks, [net.name]: endpoint });
        this.#publish('connect', net, { container: id });
      });
    });
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
      const before = this.#ctx.network.attachment(record.podId);
      this.#checkChangeable(record);
      if (isRunning(record.state)) {
        await this.#ctx.network.disconnect(id, net.id);
        await refreshNetworkFiles(this.#ctx, record, before);
      }
      this.#ctx.store.transaction(() => {
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

  /** A kernel of its own got its interfaces when it started. */
  #checkChangeable({ name, runtimeName, state }: ContainerRecord): void {
    if (isRunning(state) && this.#ctx.runtimes.get(runtimeName)?.traits.ownKernel)
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
    this.#ctx.records.change(record.id, () => ({ spec: { ...record.spec, networks, networkMode } }));
  }

  /** A container that was taken out of its last network gets its mode from the first it is put in again. */
  #setNetworks(record: ContainerRecord, networks: Record<string, EndpointSpec>): void {
    const { networkMode: mode } = record.spec;
    const networkMode = mode === 'none' ? Object.keys(networks)[0]! : mode;
    this.#ctx.records.change(record.id, () => ({ spec: { ...record.spec, networks, networkMode } }));
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

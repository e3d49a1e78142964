import type { Containers } from '../../engine/engine.ts';
import { isolationOf } from '../../engine/isolation.ts';
import type { Container } from '../../engine/model.ts';
import type { Image } from '../../images/images.ts';
import { isleError, isIsleError } from '../../lib/errors.ts';
import { type Filters, filterFlag, matchLabels, matchText } from '../http/filters.ts';
import { parsePortKeys } from './create/parse-ports.ts';
import { type NetworkLookup, renderEndpoints } from './render-network-settings.ts';
import { portName } from './render-ports.ts';

export const containerFilters = [
  'ancestor',
  'before',
  'exited',
  'expose',
  'health',
  'id',
  'isolation',
  'is-task',
  'label',
  'name',
  'network',
  'publish',
  'runtime',
  'since',
  'status',
  'volume',
] as const;

const phases = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'];
const healths = ['starting', 'healthy', 'unhealthy', 'none'];

/** Docker's filters of the container list. Throws `invalidParameter` for values that cannot be. */
export function filterContainers(
  list: Container[],
  filters: Filters,
  containers: Pick<Containers, 'get'>,
  images: { get(nameOrId: string): Image; list(): Image[] },
  lookup: NetworkLookup,
): Container[] {
  checkWords('status', filters.status, phases);
  checkWords('health', filters.health, healths);
  if (filterFlag(filters, 'is-task') === true) return [];
  const exited = filters.exited?.map(exitCode);
  const before = bound(filters.before, containers);
  const since = bound(filters.since, containers);
  const ancestors = filters.ancestor && ancestorIds(filters.ancestor, images);
  const published = filters.publish?.flatMap(parsePortKeys).map(portName);
  const exposed = filters.expose?.flatMap(parsePortKeys).map(portName);
  return list.filter(
    (container) =>
      (!filters.id || filters.id.some((id) => container.id.startsWith(id))) &&
      matchText(filters.name, container.name, `/${container.name}`) &&
      matchLabels(filters, container.labels) &&
      (!filters.status || filters.status.includes(container.state.phase)) &&
      (!filters.runtime || filters.runtime.includes(container.runtimeName)) &&
      (!filters.isolation || filters.isolation.includes(isolationOf(container))) &&
      (!filters.health || filters.health.includes(container.state.health?.status ?? 'none')) &&
      (!exited || (container.state.phase === 'exited' && exited.includes(container.state.exitCode))) &&
      (!before || older(container, before)) &&
      (!since || older(since, container)) &&
      (!ancestors || ancestors.has(container.imageId)) &&
      (!filters.volume || filters.volume.some((volume) => usesVolume(container, volume))) &&
      (!filters.network || filters.network.some((network) => inNetwork(container, network, lookup))) &&
      (!published || publishes(container, published, lookup)) &&
      (!exposed || container.exposedPorts.some((port) => exposed.includes(portName(port)))),
  );
}

function checkWords(key: string, values: string[] | undefined, known: string[]): void {
  const wrong = values?.find((value) => !known.includes(value));
  if (wrong !== undefined)
    throw isleError('invalidParameter', {
      message: `invalid filter '${key}=${wrong}': one of ${known.join(', ')}`,
    });
}

function exitCode(text: string): number {
  const code = Number(text);
  if (!Number.isInteger(code))
    throw isleError('invalidParameter', { message: `invalid filter 'exited=${text}': not a number` });
  return code;
}

function bound(values: string[] | undefined, containers: Pick<Containers, 'get'>): Container | undefined {
  return values?.[0] === undefined ? undefined : containers.get(values[0]);
}

function older(a: Container, b: Container): boolean {
  return a.id !== b.id && a.createdAt < b.createdAt;
}

/** The images named, and those made from them: whose layers begin with all of theirs. */
function ancestorIds(
  names: string[],
  images: { get(nameOrId: string): Image; list(): Image[] },
): Set<string> {
  const found = new Set<string>();
  for (const name of names) {
    const ancestor = findImage(name, images);
    if (!ancestor) continue;
    found.add(ancestor.id);
    const top = ancestor.chainIds.at(-1);
    for (const image of images.list()) if (top && image.chainIds.includes(top)) found.add(image.id);
  }
  return found;
}

function findImage(name: string, images: { get(nameOrId: string): Image }): Image | undefined {
  try {
    return images.get(name);
  } catch (error) {
    if (isIsleError(error, 'noSuchImage', 'invalidReference')) return undefined;
    throw error;
  }
}

function usesVolume(container: Container, volume: string): boolean {
  return container.mounts.some(
    (mount) => mount.name === volume || mount.source === volume || mount.destination === volume,
  );
}

function inNetwork(container: Container, nameOrId: string, lookup: NetworkLookup): boolean {
  const name = lookup.network(nameOrId)?.name ?? nameOrId;
  return Object.hasOwn(renderEndpoints(container, lookup), name);
}

function publishes(container: Container, ports: string[], lookup: NetworkLookup): boolean {
  const bindings = lookup.attachment(container.id)?.ports ?? container.spec.portBindings;
  return bindings.some((binding) => ports.includes(portName(binding)));
}

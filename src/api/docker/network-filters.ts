import type { NetworkRecord } from '../../network/network.ts';
import { isleError } from '../../lib/errors.ts';
import { type Filters, filterFlag, matchExact, matchLabels, matchText } from '../http/filters.ts';

export const networkFilters = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type'] as const;

export function filterNetworks(list: NetworkRecord[], filters: Filters): NetworkRecord[] {
  const dangling = filterFlag(filters, 'dangling');
  const wrong = filters.type?.find((type) => type !== 'builtin' && type !== 'custom');
  if (wrong !== undefined)
    throw isleError('invalidParameter', { message: `invalid filter: 'type'='${wrong}' (builtin or custom)` });
  return list.filter(
    (network) =>
      (dangling === undefined || dangling === isDangling(network)) &&
      matchExact(filters.driver, network.driver) &&
      (!filters.id || filters.id.some((id) => network.id.startsWith(id))) &&
      matchLabels(filters, network.labels) &&
      matchText(filters.name, network.name) &&
      matchExact(filters.scope, 'local') &&
      matchExact(filters.type, network.builtIn ? 'builtin' : 'custom'),
  );
}

function isDangling(network: NetworkRecord): boolean {
  return !network.builtIn && Object.keys(network.endpoints).length === 0;
}

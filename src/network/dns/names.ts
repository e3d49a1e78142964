import { isEncodable } from './query.ts';
import type { StoredEndpoint } from '../records.ts';

/** What a name stands for, as one pod sees it. */
export interface NameAnswer {
  ipv4: string[];
  ipv6: string[];
}

/** Which names resolve to which endpoints. A pod sees the names of the user-defined networks it is in, and no other. */
export class Names {
  readonly #pods = new Map<string, readonly StoredEndpoint[]>();
  /** Network id → lower-case name → endpoints. */
  readonly #byName = new Map<string, Map<string, Set<StoredEndpoint>>>();

  /** The pod's endpoints are these from now on. */
  set(podId: string, endpoints: readonly StoredEndpoint[]): void {
    this.delete(podId);
    const named = endpoints.filter((endpoint) => endpoint.dnsNames.length > 0);
    this.#pods.set(podId, named);
    for (const endpoint of named) {
      const network = getOrAdd(
        this.#byName,
        endpoint.networkId,
        () => new Map<string, Set<StoredEndpoint>>(),
      );
      for (const name of endpoint.dnsNames)
        getOrAdd(network, name.toLowerCase(), () => new Set<StoredEndpoint>()).add(endpoint);
    }
  }

  delete(podId: string): void {
    for (const endpoint of this.#pods.get(podId) ?? []) {
      const network = this.#byName.get(endpoint.networkId);
      for (const name of endpoint.dnsNames) {
        const found = network?.get(name.toLowerCase());
        found?.delete(endpoint);
        if (found?.size === 0) network?.delete(name.toLowerCase());
      }
      if (network?.size === 0) this.#byName.delete(endpoint.networkId);
    }
    this.#pods.delete(podId);
  }

  /** Undefined when `name` is no name of the pod's networks. */
  lookup(podId: string, name: string): NameAnswer | undefined {
    const wanted = name.toLowerCase().replace(/\.$/, '');
    const found = new Set<StoredEndpoint>();
    for (const own of this.#pods.get(podId) ?? []) {
      for (const endpoint of this.#inNetwork(own, wanted)) found.add(endpoint);
    }
    if (found.size === 0) return undefined;
    const of = (family: 'ipv4' | 'ipv6'): string[] =>
      shuffle([...found].flatMap((endpoint) => endpoint[family]?.address ?? []));
    return { ipv4: of('ipv4'), ipv6: of('ipv6') };
  }

  /**
   * The name behind an address: undefined when it is none of the pod's networks, '' when it is in one but nobody's.
   */
  reverse(podId: string, address: string, inNetwork: (networkId: string) => boolean): string | undefined {
    let known = false;
    for (const own of this.#pods.get(podId) ?? []) {
      known ||= inNetwork(own.networkId);
      for (const endpoints of this.#byName.get(own.networkId)?.values() ?? []) {
        for (const { ipv4, ipv6, dnsNames, networkName } of endpoints)
          if (ipv4?.address === address || ipv6?.address === address)
            return dnsNames.map((name) => `${name}.${networkName}`).find(isEncodable) ?? '';
      }
    }
    return known ? '' : undefined;
  }

  /** `name`, `name.network`, and this pod's own links (`container:alias`). */
  *#inNetwork(own: StoredEndpoint, wanted: string): Iterable<StoredEndpoint> {
    const network = this.#byName.get(own.networkId);
    const suffix = `.${own.networkName.toLowerCase()}`;
    yield* network?.get(wanted) ?? [];
    if (wanted.endsWith(suffix)) yield* network?.get(wanted.slice(0, -suffix.length)) ?? [];
    for (const link of own.links) {
      const [target = '', alias = target] = link.split(':');
      if (alias.toLowerCase() === wanted) yield* network?.get(target.toLowerCase()) ?? [];
    }
  }
}

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function shuffle(list: string[]): string[] {
  for (let last = list.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [list[last], list[other]] = [list[other]!, list[last]!];
  }
  return list;
}

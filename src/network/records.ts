import type { PortBinding } from '../engine/model.ts';
import type { Store, Table } from '../lib/table.ts';
import type { AttachRequest, Endpoint, NetworkRecord } from './network.ts';

export interface StoredNetwork extends Omit<NetworkRecord, 'endpoints'> {
  /** Recorded before its bridge exists; a crash in between takes it back. */
  pending?: boolean;
  /** Its IPv4 subnet was chosen, not given: another would do as well. */
  chosen?: boolean;
}

export interface StoredEndpoint extends Endpoint {
  /** The host's end of its cable; '' where there is none (`host`, `none`). */
  hostLink: string;
  gwPriority: number;
  /** `container:alias` pairs that resolve for this pod only. */
  links: string[];
}

/** What a pod has. Recorded before the first effect on the kernel, removed after the last. */
export interface StoredPod {
  podId: string;
  /** File of its namespace in the netns directory; '' for a pod in the host's. */
  namespace: string;
  request: AttachRequest;
  endpoints: StoredEndpoint[];
  /** As they are: real host addresses and ports. */
  ports: PortBinding[];
  /** Where the resolver listens inside. */
  dnsPort?: number;
  /** Its guest is told its addresses: see `Network.serveGuest`. */
  guest?: boolean;
  /** Interfaces at which its guest has taken its IPv6 address: by that name it is not resolved before. */
  tookIpv6?: string[];
}

/** The tables of this room. Addresses in use are not among them: they follow from the endpoints. */
export interface Records {
  store: Store;
  networks: Table<StoredNetwork>;
  pods: Table<StoredPod>;
}

export function openRecords(store: Store): Records {
  return {
    store,
    networks: store.table<StoredNetwork>('network.networks'),
    pods: store.table<StoredPod>('network.pods'),
  };
}

import type { Engine } from '../../engine/engine.ts';
import type { NetworkRecord } from '../../network/network.ts';
import { isIsleError } from '../../lib/errors.ts';
import type { ApiVersion } from '../http/api-version.ts';
import type { NetworkLookup } from './render-network-settings.ts';

/** Answers from the engine; a network that is gone is no error to whoever shows a container. */
export function networkLookup(engine: Engine, version: ApiVersion): NetworkLookup {
  const seen = new Map<string, NetworkRecord | undefined>();
  return {
    version,
    attachment: (id) => engine.containers.attachment(id),
    network(nameOrId) {
      if (!seen.has(nameOrId)) seen.set(nameOrId, findNetwork(engine, nameOrId));
      return seen.get(nameOrId);
    },
  };
}

function findNetwork(engine: Engine, nameOrId: string): NetworkRecord | undefined {
  try {
    return engine.networks.get(nameOrId);
  } catch (error) {
    if (isIsleError(error, 'noSuchNetwork', 'ambiguousId')) return undefined;
    throw error;
  }
}

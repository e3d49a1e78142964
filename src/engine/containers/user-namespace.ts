import { isleError } from '../../lib/errors.ts';
import { parseUserns, usualIds } from '../../lib/userns.ts';
import type { EngineContext } from '../context.ts';
import type { ContainerSpec } from '../model.ts';
import type { IdMap, Runtime, TakenIds } from '../runtime.ts';
import { ownerOf } from './pod-network.ts';

/**
 * The ids of a new container: undefined when it runs in the host's user namespace. One that shares another's network, IPC
 * or processes shares its ids too, unless it asks for something else: what it joins belongs to them.
 */
export async function takeIdMap(
  ctx: EngineContext,
  runtime: Runtime,
  spec: ContainerSpec,
): Promise<TakenIds | undefined> {
  const { traits } = runtime;
  const wish = parseUserns(spec.usernsMode);
  if (wish.mode === 'host') return undefined;
  const asked = wish.mode === 'own';
  const joined = joinedMaps(ctx, spec);
  if (joined.length > 0 && !(asked && joined.every(({ map }) => map === undefined)))
    return shareMap(joined, asked);
  if (!asked && !traits.idMap && ctx.defaults.userns !== 'auto') return undefined;
  if (asked && joined.some(({ what }) => what !== 'network'))
    refuse('a container with a user namespace of its own cannot share IPC or processes with one without');
  checkHostParts(spec, asked || traits.idMap);
  if (wish.size < usualIds && (traits.ownKernel || traits.bootsInit))
    refuse(`the runtime ${spec.runtime} needs ${usualIds} ids: leave the size out`);
  const ready = wish.size === usualIds ? runtime.takeReady?.(spec) : undefined;
  return ready ?? (await ctx.idMaps.take(wish.size));
}

/** Whether its ids are those of a container that it joins, if they are anybody's. */
export function sharesIds({ networkMode, ipcMode, pidMode }: ContainerSpec): boolean {
  return ownerOf({ networkMode }) !== undefined || typeof ipcMode === 'object' || typeof pidMode === 'object';
}

interface Joined {
  what: 'network' | 'IPC' | 'processes';
  map: IdMap | undefined;
}

function joinedMaps(ctx: EngineContext, spec: ContainerSpec): Joined[] {
  const mapOf = (id: string): IdMap | undefined => ctx.records.find(id).idMap;
  const network = ownerOf(spec);
  const { ipcMode, pidMode } = spec;
  return [
    ...(network === undefined ? [] : [{ what: 'network' as const, map: mapOf(network) }]),
    ...(typeof ipcMode === 'object' ? [{ what: 'IPC' as const, map: mapOf(ipcMode.container) }] : []),
    ...(typeof pidMode === 'object' ? [{ what: 'processes' as const, map: mapOf(pidMode.container) }] : []),
  ];
}

/** Those it joins have to agree; only a network may belong to somebody else. */
function shareMap(joined: Joined[], asked: boolean): TakenIds | undefined {
  const deep = joined.filter(({ what }) => what !== 'network');
  const decisive = deep.length > 0 ? deep : joined;
  const [first] = decisive.map(({ map }) => map);
  if (decisive.some(({ map }) => map?.hostId !== first?.hostId))
    refuse(
      'the containers whose namespaces it shall share are in different user namespaces: start them with the same --userns',
    );
  if (first === undefined) {
    if (asked)
      refuse('a container with a user namespace of its own cannot share IPC or processes with one without');
    return undefined;
  }
  return { map: first, [Symbol.dispose]() {} };
}

/** As Docker refuses it. `--privileged` is allowed to who asks: it gives every capability that the namespace has. */
function checkHostParts(spec: ContainerSpec, asked: boolean): void {
  if (spec.privileged && !asked)
    refuse(
      'privileged mode is incompatible with user namespaces: run the container in the host namespace (--userns=host) when running privileged mode',
    );
  const host = '(run it with --userns=host)';
  if (spec.networkMode === 'host')
    refuse(`cannot share the host's network namespace when user namespaces are enabled ${host}`);
  if (spec.pidMode === 'host')
    refuse(`cannot share the host PID namespace when user namespaces are enabled ${host}`);
}

function refuse(message: string): never {
  throw isleError('invalidParameter', { message });
}

import { randomBytes } from 'node:crypto';
import { isleError } from '../../lib/errors.ts';
import { newId, shortId } from '../../lib/ids.ts';
import { freshState, makeContainer } from '../containers/create.ts';
import { publishContainer } from '../containers/events.ts';
import type { ContainerRecord } from '../containers/record.ts';
import { isRunning, titleOf } from '../containers/records.ts';
import { sharesIds } from '../containers/user-namespace.ts';
import type { EngineContext } from '../context.ts';
import { explainFull } from '../disk-full.ts';
import type { CloneOptions } from '../engine.ts';
import type { ContainerSpec, EndpointSpec } from '../model.ts';
import { refuseMachine } from '../machines/record.ts';
import { mountPointOf } from '../mounts/resolve.ts';
import { now } from '../time.ts';
import type { TakenIds } from '../runtime.ts';
import type { IdMap } from '../runtime.ts';
import { held } from './hold.ts';
import { checkSnapshotName } from './names.ts';
import { snapshotQueue } from './take.ts';

/**
 * Another container with the settings of `reference` and a copy of what that has written, now or when a snapshot was
 * taken, but somebody else: own id, hostname, addresses and anonymous volumes. Named volumes and binds are the same ones.
 */
export async function cloneContainer(
  ctx: EngineContext,
  reference: string,
  options: CloneOptions,
): Promise<{ id: string; warnings: string[] }> {
  if (options.snapshot !== undefined) checkSnapshotName(options.snapshot);
  const source = ctx.records.find(reference);
  refuseMachine(source, 'clone', 'which is cloned by "isle vm clone"');
  return await ctx.queue.run(snapshotQueue(source.id), async () => {
    const id = newId();
    const from = ctx.records.find(source.id);
    if (options.ports) refuseTakenPorts(from);
    const name = ctx.records.reserve(options.name, id);
    try {
      using taken = await takeOwnMap(ctx, from);
      const record = cloneOf(ctx, from, { id, name, ports: options.ports, idMap: taken?.map });
      await makeContainer(ctx, record, { specs: record.mountSpecs, anonymous: record.anonymousVolumes }, () =>
        copyRoot(ctx, from, options.snapshot, record),
      );
      const clone = { clone: id, cloneName: name };
      publishContainer(
        ctx,
        from,
        'clone',
        options.snapshot ? { ...clone, snapshot: options.snapshot } : clone,
      );
      return { id, warnings: warningsFor(record) };
    } catch (error) {
      ctx.records.release(name, id);
      throw explainFull(ctx, error, `cloning container ${from.name}`);
    }
  });
}

/** Ids of its own, unless the source has those of a container that it shares namespaces with. */
async function takeOwnMap(
  ctx: EngineContext,
  { idMap, spec }: ContainerRecord,
): Promise<TakenIds | undefined> {
  if (idMap === undefined || sharesIds(spec)) return idMap && { map: idMap, [Symbol.dispose]() {} };
  return await ctx.idMaps.take(idMap.size);
}

async function copyRoot(
  ctx: EngineContext,
  { id }: ContainerRecord,
  saved: string | undefined,
  record: ContainerRecord,
): Promise<void> {
  const quietly =
    saved === undefined ? (copy: () => Promise<void>) => held(ctx, id, copy).then(() => {}) : undefined;
  const busy = isRunning(ctx.records.find(id).state);
  await ctx.snapshots.cloneFrom({ id, saved }, record.id, {
    volatile: record.spec.autoRemove,
    quietly,
    busy,
  });
}

/** A port of the host belongs to one container: the clone could not start beside its source. */
export function refuseTakenPorts(record: ContainerRecord): void {
  const taken = record.spec.portBindings.filter(({ hostPort }) => hostPort !== 0);
  if (taken.length === 0) return;
  const ports = [...new Set(taken.map(({ hostPort, protocol }) => `${hostPort}/${protocol}`))].join(', ');
  throw isleError('conflict', {
    message: `${record.spec.machine ? 'machine' : 'container'} ${titleOf(record)} publishes ${ports} on the host, which only one can have: clone it without its published ports (--no-ports)`,
  });
}

function cloneOf(
  ctx: EngineContext,
  source: ContainerRecord,
  { id, name, ports, idMap }: { id: string; name: string; ports: boolean; idMap: IdMap | undefined },
): ContainerRecord {
  const hostname = hostnameOf(source, id, name);
  const spec = specOf(source.spec, { hostname: source.spec.hostname === '' ? '' : hostname, ports });
  const names = new Map(source.anonymousVolumes.map((volume) => [volume, randomBytes(32).toString('hex')]));
  const mountSpecs = source.mountSpecs.map((mount) => ({
    ...mount,
    source: (mount.type === 'volume' && names.get(mount.source)) || mount.source,
  }));
  return {
    ...source,
    id,
    name,
    idMap,
    createdAt: now(),
    podId: source.podId === source.id ? id : source.podId,
    spec,
    hostname,
    process: { ...source.process, env: renamed(source, hostname) },
    mountSpecs,
    mounts: mountSpecs.map((mount) => mountPointOf(ctx, mount)),
    anonymousVolumes: [...names.values()],
    state: freshState(),
    revision: 1,
  };
}

/** One that was given a hostname gets its own name for one, where that can be one. */
function hostnameOf(source: ContainerRecord, id: string, name: string): string {
  const { spec } = source;
  if (source.podId !== source.id || spec.networkMode === 'host' || spec.utsMode === 'host')
    return source.hostname;
  const own = /^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/.test(name);
  return spec.hostname !== '' && own ? name : shortId(id);
}

export function specOf(
  spec: ContainerSpec,
  { hostname, ports }: { hostname: string; ports: boolean },
): ContainerSpec {
  return {
    ...spec,
    hostname,
    macAddress: undefined,
    networks: Object.fromEntries(
      Object.entries(spec.networks).map(([network, endpoint]) => [network, endpointOf(endpoint)]),
    ),
    ...(ports ? {} : { portBindings: [], publishAllPorts: false }),
  };
}

/** Addresses belong to one, and an alias that two have would share out what was meant for the first. */
function endpointOf({ links, driverOptions, gwPriority }: EndpointSpec): EndpointSpec {
  return { links, driverOptions, gwPriority };
}

function renamed({ process, hostname }: ContainerRecord, now: string): string[] {
  return process.env.map((entry) => (entry === `HOSTNAME=${hostname}` ? `HOSTNAME=${now}` : entry));
}

function warningsFor({ mountSpecs, anonymousVolumes }: ContainerRecord): string[] {
  const shared = mountSpecs
    .filter(({ type, source }) => type !== 'tmpfs' && !anonymousVolumes.includes(source))
    .map(({ target }) => target);
  return [
    ...(shared.length > 0 ? [`shared with the source, not copied: ${shared.join(', ')}`] : []),
    ...(anonymousVolumes.length > 0
      ? ['its anonymous volumes are new: what was in them was not copied']
      : []),
  ];
}

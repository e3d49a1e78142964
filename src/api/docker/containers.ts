import type { Engine } from '../../engine/engine.ts';
import type { Container } from '../../engine/model.ts';
import { isIsleError, isleError } from '../../lib/errors.ts';
import type { Call, Route } from '../http/call.ts';
import { parseFilters } from '../http/filters.ts';
import type { Query } from '../http/query.ts';
import { json, noContent, type Reply } from '../http/reply.ts';
import type { ApiConfig } from './config.ts';
import { containerFilters, filterContainers } from './container-filters.ts';
import { parseContainer, parseContainerName } from './create/parse-container.ts';
import { parseResources, parseRestartPolicy } from './create/parse-resources.ts';
import { networkLookup } from './network-lookup.ts';
import { renderContainer } from './render-container.ts';
import { renderSnapshot } from '../isle/render-snapshot.ts';
import { renderContainerSummary } from './render-container-summary.ts';

/** Create, look at, change, remove. */
export function containerRoutes(engine: Engine, config: ApiConfig): Route[] {
  const { containers } = engine;
  return [
    {
      method: 'POST',
      path: '/containers/create',
      async handle(call) {
        const name = parseContainerName(call.query.text('name'));
        const spec = parseContainer(await call.json(), call.query);
        const { id, warnings } = await containers.create(name, spec).catch(onlyImagesAreMissing);
        return json({ Id: id, Warnings: warnings }, 201);
      },
    },
    { method: 'GET', path: '/containers/json', handle: (call) => listContainers(engine, call) },
    {
      method: 'GET',
      path: '/containers/:id/json',
      async handle(call) {
        const container = containers.get(call.param('id'));
        const size = call.query.flag('size') ? await containers.size(container.id) : undefined;
        const rendered = renderContainer(
          container,
          networkLookup(engine, call.version),
          config.dataRoot,
          size,
        );
        const snapshots = engine.snapshots.list(container.id).map(renderSnapshot);
        return json({ ...rendered, ...(snapshots.length > 0 && { Snapshots: snapshots }) });
      },
    },
    {
      method: 'POST',
      path: '/containers/:id/rename',
      async handle(call) {
        const name = parseContainerName(call.query.text('name'));
        if (name === undefined)
          throw isleError('invalidParameter', {
            message: 'the query parameter "name" must hold the new name',
          });
        await containers.rename(call.param('id'), name);
        return noContent();
      },
    },
    {
      method: 'POST',
      path: '/containers/:id/update',
      async handle(call) {
        const body = await call.json();
        const change = { resources: parseResources(body), restartPolicy: parseRestartPolicy(body) };
        const { warnings } = await containers.update(call.param('id'), change);
        return json({ Warnings: warnings });
      },
    },
    {
      method: 'DELETE',
      path: '/containers/:id',
      async handle(call) {
        call.query.refuse('link');
        await containers.remove(call.param('id'), {
          force: call.query.flag('force'),
          volumes: call.query.flag('v'),
        });
        return noContent();
      },
    },
    {
      method: 'POST',
      path: '/containers/prune',
      async handle(call) {
        const filters = parseFilters(call.query, ['label', 'label!', 'until']);
        const { removed, reclaimed } = await containers.prune(filters);
        return json({ ContainersDeleted: removed, SpaceReclaimed: reclaimed });
      },
    },
    {
      method: 'GET',
      path: '/containers/:id/top',
      async handle(call) {
        const { titles, processes } = await containers.top(
          call.param('id'),
          call.query.text('ps_args') || '-ef',
        );
        return json({ Titles: titles, Processes: processes });
      },
    },
    {
      method: 'GET',
      path: '/containers/:id/changes',
      async handle(call) {
        const changes = await containers.changes(call.param('id'));
        return json(changes.map(({ path, kind }) => ({ Path: path, Kind: kind })));
      },
    },
  ];
}

/** To a client a 404 of create means that the image has to be pulled: another container or network is a wrong parameter. */
function onlyImagesAreMissing(error: unknown): never {
  if (isIsleError(error) && error.status === 404 && error.code !== 'noSuchImage')
    throw isleError('invalidParameter', { message: error.message }, error);
  throw error;
}

async function listContainers(engine: Engine, call: Call): Promise<Reply> {
  const { query } = call;
  const filters = parseFilters(query, containerFilters);
  const lookup = networkLookup(engine, call.version);
  const limit = listLimit(query);
  // Asking for a number, or for a state, means all of them.
  const all = query.flag('all') || limit > 0 || filters.status !== undefined;
  const found = filterContainers(
    engine.containers.list().filter((container) => all || isUp(container)),
    filters,
    engine.containers,
    engine.images,
    lookup,
  );
  const shown = limit > 0 ? found.slice(0, limit) : found;
  const sizes = query.flag('size')
    ? await Promise.all(shown.map((container) => engine.containers.size(container.id)))
    : [];
  return json(shown.map((container, index) => renderContainerSummary(container, lookup, sizes[index])));
}

function listLimit(query: Query): number {
  return query.integer('limit') ?? 0;
}

function isUp({ state }: Container): boolean {
  return state.phase === 'running' || state.phase === 'paused' || state.phase === 'restarting';
}

import type { Engine, Volume } from '../../engine/engine.ts';
import type { Call, Route } from '../http/call.ts';
import {
  type Filters,
  filterFlag,
  matchExact,
  matchLabels,
  matchText,
  parseFilters,
} from '../http/filters.ts';
import { json, noContent, type Reply } from '../http/reply.ts';
import { checkVolumeName } from './create/mount-checks.ts';

export function volumeRoutes(engine: Engine): Route[] {
  const { volumes } = engine;
  return [
    {
      method: 'GET',
      path: '/volumes',
      handle(call) {
        const filters = parseFilters(call.query, ['dangling', 'driver', 'label', 'name']);
        return json({ Volumes: filterVolumes(engine, filters).map(renderVolume), Warnings: [] });
      },
    },
    { method: 'POST', path: '/volumes/create', handle: (call) => createVolume(engine, call) },
    {
      method: 'GET',
      path: '/volumes/:name',
      handle: (call) => json(renderVolume(volumes.get(call.param('name')))),
    },
    {
      method: 'DELETE',
      path: '/volumes/:name',
      async handle(call) {
        await volumes.remove(call.param('name'), call.query.flag('force'));
        return noContent();
      },
    },
    {
      method: 'POST',
      path: '/volumes/prune',
      async handle(call) {
        const filters = parseFilters(call.query, ['all', 'label', 'label!']);
        // Since 1.42 only anonymous ones go unless all are asked for.
        const wide: Filters = call.version < 42 ? { ...filters, all: ['true'] } : filters;
        const { removed, reclaimed } = await volumes.prune(wide);
        return json({ VolumesDeleted: removed, SpaceReclaimed: reclaimed });
      },
    },
  ];
}

function filterVolumes(engine: Engine, filters: Filters): Volume[] {
  const dangling = filterFlag(filters, 'dangling');
  return engine.volumes
    .list()
    .filter(
      (volume) =>
        matchExact(filters.driver, volume.driver) &&
        matchLabels(filters, volume.labels) &&
        matchText(filters.name, volume.name) &&
        (dangling === undefined || dangling === (engine.volumes.users(volume.name).length === 0)),
    );
}

async function createVolume(engine: Engine, call: Call): Promise<Reply> {
  const body = await call.json();
  body.refuse('ClusterVolumeSpec');
  const name = body.text('Name');
  if (name !== '') checkVolumeName(name);
  const volume = await engine.volumes.create({
    name: name || undefined,
    driver: body.text('Driver') || 'local',
    options: body.textMap('DriverOpts'),
    labels: body.textMap('Labels'),
  });
  return json(renderVolume(volume), 201);
}

export function renderVolume(volume: Volume): object {
  return {
    CreatedAt: volume.createdAt,
    Driver: volume.driver,
    Labels: volume.anonymous ? { 'com.docker.volume.anonymous': '', ...volume.labels } : volume.labels,
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: volume.options,
    Scope: 'local',
  };
}

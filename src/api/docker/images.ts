import type { Engine } from '../../engine/engine.ts';
import type { ImageUser, RemovedImage } from '../../images/images.ts';
import { isleError } from '../../lib/errors.ts';
import type { Call, Route } from '../http/call.ts';
import { filterFlag, parseFilters } from '../http/filters.ts';
import { json, type Reply } from '../http/reply.ts';
import { imageFilters, filterImages } from './image-filters.ts';
import { renderHistory, renderImage, renderImageSummary } from './render-image.ts';

/** Look at, name and remove images. Pull, push and the like: `image-transfer.ts`. */
export function imageRoutes(engine: Engine): Route[] {
  const { images } = engine;
  return [
    { method: 'GET', path: '/images/json', handle: (call) => listImages(engine, call) },
    {
      method: 'GET',
      path: '/images/:name/json',
      handle(call) {
        call.query.refuse('manifests', 'platform');
        return json(renderImage(images.get(call.param('name')), call.version));
      },
    },
    {
      method: 'GET',
      path: '/images/:name/history',
      handle(call) {
        call.query.refuse('platform');
        return json(images.history(call.param('name')).map(renderHistory));
      },
    },
    {
      method: 'POST',
      path: '/images/:name/tag',
      handle(call) {
        const repo = call.query.text('repo');
        if (repo === '')
          throw isleError('invalidParameter', { message: 'the query parameter "repo" is missing' });
        const tag = call.query.text('tag');
        images.tag(call.param('name'), tag === '' ? repo : `${repo}:${tag}`);
        return { status: 201 };
      },
    },
    { method: 'DELETE', path: '/images/:name', handle: (call) => removeImage(engine, call) },
    { method: 'POST', path: '/images/prune', handle: (call) => pruneImages(engine, call) },
  ];
}

async function listImages(engine: Engine, call: Call): Promise<Reply> {
  call.query.refuse('manifests');
  const filters = parseFilters(call.query, imageFilters);
  const found = filterImages(engine.images.list(), filters, engine.images);
  const usage = call.query.flag('shared-size') ? await engine.images.usage() : undefined;
  return json(
    found.map((image) =>
      renderImageSummary(
        image,
        { shared: usage?.perImage.get(image.id)?.shared ?? -1, containers: -1 },
        call.version,
      ),
    ),
  );
}

async function removeImage(engine: Engine, call: Call): Promise<Reply> {
  call.query.refuse('platforms');
  const removed = await engine.images.remove(call.param('name'), {
    force: call.query.flag('force'),
    prune: !call.query.flag('noprune'),
    inUse: (imageId) => imageUser(engine, imageId),
  });
  return json(removed.map(renderRemoved));
}

/** A container made from the image, a running one before others. */
function imageUser(engine: Engine, imageId: string): ImageUser | undefined {
  const users = engine.containers
    .list()
    .filter((container) => container.imageId === imageId)
    .map(({ id, state }) => ({
      containerId: id,
      running: !['created', 'exited', 'dead'].includes(state.phase),
    }));
  return users.find(({ running }) => running) ?? users[0];
}

async function pruneImages(engine: Engine, call: Call): Promise<Reply> {
  const filters = parseFilters(call.query, ['dangling', 'label', 'label!', 'until']);
  const used = new Set(engine.containers.list().map((container) => container.imageId));
  const { dangling: _, ...rest } = filters;
  const { removed, reclaimed } = await engine.images.prune({
    all: filterFlag(filters, 'dangling') === false,
    filters: rest,
    keep: (imageId) => used.has(imageId),
  });
  return json({ ImagesDeleted: removed.map(renderRemoved), SpaceReclaimed: reclaimed });
}

function renderRemoved(entry: RemovedImage): object {
  return 'untagged' in entry ? { Untagged: entry.untagged } : { Deleted: entry.deleted };
}

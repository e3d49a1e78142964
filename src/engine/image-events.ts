import type { Images, RemovedImage } from '../images/images.ts';
import type { EngineContext } from './context.ts';

/** The images face with each change published as Docker's event. */
export function withImageEvents(ctx: EngineContext): Images {
  const { images } = ctx;
  const publish = (action: string, id: string, name: string) =>
    ctx.events.publish('image', action, id, { name });
  /** Of what was deleted only images are told: the layers that went with them are no image's event. */
  const publishRemoved = (removed: RemovedImage[], ids: ReadonlySet<string>) => {
    for (const entry of removed) {
      if ('untagged' in entry) publish('untag', entry.untagged, entry.untagged);
      else if (ids.has(entry.deleted)) publish('delete', entry.deleted, entry.deleted);
    }
  };
  return {
    get: (name) => images.get(name),
    list: () => images.list(),
    history: (name) => images.history(name),
    chainId: (id) => images.chainId(id),
    usage: () => images.usage(),
    login: (auth) => images.login(auth),
    recover: () => images.recover(),
    commit: (options) => images.commit(options),
    async pull(ref, options) {
      const image = await images.pull(ref, options);
      publish('pull', ref, ref);
      return image;
    },
    async push(ref, options) {
      await images.push(ref, options);
      publish('push', ref, ref);
    },
    tag(nameOrId, newName) {
      images.tag(nameOrId, newName);
      publish('tag', images.get(nameOrId).id, newName);
    },
    async remove(nameOrId, options) {
      const ids = idsOf(images);
      const removed = await images.remove(nameOrId, options);
      publishRemoved(removed, ids);
      return removed;
    },
    async prune(options) {
      const ids = idsOf(images);
      const result = await images.prune(options);
      publishRemoved(result.removed, ids);
      ctx.events.publish('image', 'prune', '', { reclaimed: String(result.reclaimed) });
      return result;
    },
    async save(names, signal) {
      const archive = await images.save(names, signal);
      for (const name of names) publish('save', images.get(name).id, name);
      return archive;
    },
    async load(archive, onProgress, signal) {
      const loaded = await images.load(archive, onProgress, signal);
      for (const { id, names } of loaded) publish('load', id, names[0] ?? id);
      return loaded;
    },
    searchServer: (server, signal) => images.searchServer(server, signal),
    async importRoot(source, options) {
      const image = await images.importRoot(source, options);
      publish('import', image.id, options.ref ?? image.tags[0] ?? image.id);
      return image;
    },
    async import(archive, options) {
      const image = await images.import(archive, options);
      publish('import', image.id, options.ref ?? image.id);
      return image;
    },
  };
}

function idsOf(images: Images): Set<string> {
  return new Set(images.list().map(({ id }) => id));
}

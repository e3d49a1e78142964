import { isleError } from '../lib/errors.ts';
import { shortId } from '../lib/ids.ts';
import type { ImageIndex, ImageRecord } from './image-index.ts';
import type { ImageUser, RemovedImage } from './images.ts';
import { canonicalRepository, familiarName, type Reference } from './reference.ts';

export interface RemoveOptions {
  force: boolean;
  /** Also parents that nothing else needs. */
  prune: boolean;
  inUse(imageId: string): ImageUser | undefined;
}

/**
 * Takes a name, or a whole image, out of the index by Docker's rules (moby, `daemon/images/image_delete.go`) and
 * says what happened. What the image had on disk is garbage from then on. Throws `noSuchImage`, `conflict`.
 */
export function removeFromIndex(index: ImageIndex, nameOrId: string, options: RemoveOptions): RemovedImage[] {
  const image = index.find(nameOrId);
  const removed: RemovedImage[] = [];
  const named = index.findName(nameOrId)?.name;
  if (named) {
    untagOne(index, image, named, nameOrId, options, removed);
    if (index.namesOf(image.id).length > 0) return removed;
  } else {
    refuseIfNamedTwice(index, image, nameOrId, options);
    refuseIfUsed(index, image, options);
    untagAll(index, index.namesOf(image.id), removed);
  }
  removeImage(index, image, { ...options, known: named !== undefined }, removed);
  return removed;
}

function untagOne(
  index: ImageIndex,
  image: ImageRecord,
  name: Reference,
  typed: string,
  options: RemoveOptions,
  removed: RemovedImage[],
): void {
  const names = index.namesOf(image.id);
  const user = options.inUse(image.id);
  if (!options.force && user && isOneRepositoryAndTag(names))
    throw isleError('conflict', {
      message: `conflict: unable to remove repository reference "${typed}" (must force) - container ${shortId(user.containerId)} is using its referenced image ${shortId(image.id)}`,
    });
  untagAll(index, [name], removed);
  // Digests were only pulled along with the last tag of their repository: they go with it.
  const left = index.namesOf(image.id);
  const repository = canonicalRepository(name);
  const same = left.filter((other) => canonicalRepository(other) === repository);
  if (name.tag && same.every((other) => other.digest)) untagAll(index, same, removed);
}

/** A single tag, with or without the digests of its repository. */
function isOneRepositoryAndTag(names: Reference[]): boolean {
  const repositories = new Set(names.map(canonicalRepository));
  return repositories.size <= 1 && names.filter((name) => name.tag).length <= 1;
}

function untagAll(index: ImageIndex, names: Reference[], removed: RemovedImage[]): void {
  for (const name of names) {
    index.untag(name);
    removed.push({ untagged: familiarName(name) });
  }
}

function refuseIfNamedTwice(
  index: ImageIndex,
  image: ImageRecord,
  typed: string,
  options: RemoveOptions,
): void {
  const repositories = new Set(index.namesOf(image.id).map(canonicalRepository));
  if (repositories.size > 1 && !options.force)
    throw isleError('conflict', {
      message: `conflict: unable to delete ${shortId(typed)} (must be forced) - image is referenced in multiple repositories`,
    });
}

function refuseIfUsed(index: ImageIndex, image: ImageRecord, options: RemoveOptions): void {
  const id = shortId(image.id);
  const refuse = (how: string, why: string) =>
    isleError('conflict', { message: `conflict: unable to delete ${id} (${how}) - ${why}` });
  if (index.all().some((other) => other.parentId === image.id))
    throw refuse('cannot be forced', 'image has dependent child images');
  const user = options.inUse(image.id);
  if (user?.running)
    throw refuse('cannot be forced', `image is being used by running container ${shortId(user.containerId)}`);
  if (user && !options.force)
    throw refuse('must be forced', `image is being used by stopped container ${shortId(user.containerId)}`);
}

/** The record itself; after a name was removed a used image just stays, without a name. */
function removeImage(
  index: ImageIndex,
  image: ImageRecord,
  options: RemoveOptions & { known: boolean },
  removed: RemovedImage[],
): void {
  if (options.known) {
    try {
      refuseIfUsed(index, image, options);
    } catch {
      return;
    }
  }
  index.delete(image.id);
  removed.push({ deleted: image.id });
  const parent = options.prune && image.parentId ? index.record(image.parentId) : undefined;
  if (!parent || index.namesOf(parent.id).length > 0) return;
  removeImage(index, parent, { ...options, force: false, known: true }, removed);
}

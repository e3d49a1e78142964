import { isleError, isIsleError } from '../../lib/errors.ts';
import type { ContainerRecord } from '../containers/record.ts';
import type { EngineContext } from '../context.ts';
import type { MountSpec } from '../model.ts';

/**
 * Images mounted into containers (`--mount type=image`): each is a root of its own over the image's layers, which it keeps
 * on the disk, named after its container. It is only ever bound read-only, so that nothing is written to it.
 */
type Owner = Pick<ContainerRecord, 'id' | 'mountSpecs'>;

/** Names of the roots of a container's mounted images. */
export function imageRootsOf(record: Owner): string[] {
  return imagesOf(record).map((mount) => nameOf(record, mount));
}

/** The mount with its image looked up. Throws `invalidParameter` when there is none. */
export function resolveImageMount(ctx: EngineContext, mount: MountSpec): MountSpec {
  try {
    const { id } = ctx.images.get(mount.source);
    return { ...mount, image: { id, chainId: ctx.images.chainId(id) } };
  } catch (error) {
    // A 404 would make clients pull the container's own image.
    if (!isIsleError(error)) throw error;
    const message = `invalid mount config for type "image": ${error.message}; pull it first`;
    throw isleError('invalidParameter', { message }, error);
  }
}

export async function makeImageRoots(ctx: EngineContext, record: Owner): Promise<void> {
  for (const mount of imagesOf(record))
    await ctx.snapshots.prepare(nameOf(record, mount), mount.image?.chainId, { volatile: true });
}

/** Where the image is mounted, which it is from now on. */
export async function mountImage(
  ctx: EngineContext,
  record: Owner & Pick<ContainerRecord, 'idMap'>,
  mount: MountSpec,
): Promise<string> {
  return await ctx.snapshots.mount(nameOf(record, mount), { idMap: record.idMap });
}

export async function unmountImages(ctx: EngineContext, record: Owner): Promise<void> {
  await Promise.all(imageRootsOf(record).map((name) => ctx.snapshots.unmount(name)));
}

/** Idempotent. */
export async function removeImageRoots(ctx: EngineContext, record: Owner): Promise<void> {
  await Promise.all(imageRootsOf(record).map((name) => ctx.snapshots.remove(name)));
}

function imagesOf({ mountSpecs }: Owner): MountSpec[] {
  return mountSpecs.filter(({ type }) => type === 'image');
}

function nameOf(record: Owner, mount: MountSpec): string {
  return `${record.id}-image-${imagesOf(record).indexOf(mount)}`;
}

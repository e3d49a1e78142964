import type { ImageIndex } from './image-index.ts';

export interface ImagesUsage {
  total: number;
  perImage: Map<string, { size: number; shared: number; unique: number }>;
}

/** Unpacked bytes by image; a layer that several images have is shared and counts once in the total. */
export function usageOf(index: ImageIndex): ImagesUsage {
  const users = new Map<string, { size: number; count: number }>();
  const images = index.all();
  for (const image of images)
    for (const { chainId, unpackedSize } of image.layers) {
      const user = users.get(chainId);
      if (user) user.count++;
      else users.set(chainId, { size: unpackedSize, count: 1 });
    }
  const perImage = new Map(
    images.map((image) => {
      const sum = (shared: boolean) =>
        image.layers.reduce((total, layer) => {
          const isShared = (users.get(layer.chainId)?.count ?? 0) > 1;
          return isShared === shared ? total + layer.unpackedSize : total;
        }, 0);
      const [shared, unique] = [sum(true), sum(false)];
      return [image.id, { size: shared + unique, shared, unique }] as const;
    }),
  );
  return { total: [...users.values()].reduce((total, { size }) => total + size, 0), perImage };
}

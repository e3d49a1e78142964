import type { ImageIndex, ImageRecord } from './image-index.ts';
import type { HistoryEntry } from './images.ts';
import { familiarName } from './reference.ts';

/** What made each layer, newest first, as `docker history` shows it. */
export function historyOf(index: ImageIndex, image: ImageRecord): HistoryEntry[] {
  let layer = 0;
  const entries = image.history.map((step): HistoryEntry => {
    const size = step.emptyLayer ? 0 : (image.layers[layer++]?.unpackedSize ?? 0);
    return {
      id: '<missing>',
      createdAt: step.createdAt,
      createdBy: step.createdBy,
      size,
      comment: step.comment,
      tags: [],
    };
  });
  const tags = index
    .namesOf(image.id)
    .filter((name) => name.tag)
    .map(familiarName);
  entries.reverse();
  if (entries.length === 0) {
    const size = image.layers.reduce((sum, { unpackedSize }) => sum + unpackedSize, 0);
    entries.push({
      id: '',
      createdAt: image.createdAt,
      createdBy: '',
      size,
      comment: image.comment,
      tags: [],
    });
  }
  Object.assign(entries[0] as HistoryEntry, { id: image.id, tags });
  markParents(index, image, entries);
  return entries;
}

/** Ids of ancestors that are here as images of their own stand beside the step that made them. */
function markParents(index: ImageIndex, image: ImageRecord, entries: HistoryEntry[]): void {
  const seen = new Set([image.id]);
  for (let child = image; ; ) {
    const parent = index.record(child.parentId);
    if (!parent || seen.has(parent.id)) return;
    seen.add(parent.id);
    const entry = entries[entries.length - parent.history.length];
    if (entry && parent.history.length > 0) {
      entry.id = parent.id;
      entry.tags = index
        .namesOf(parent.id)
        .filter((name) => name.tag)
        .map(familiarName);
    }
    child = parent;
  }
}

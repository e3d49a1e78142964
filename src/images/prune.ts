import { isleError } from '../lib/errors.ts';
import { parseDuration } from '../lib/units.ts';
import type { ImageIndex, ImageRecord } from './image-index.ts';
import type { RemovedImage } from './images.ts';
import { removeFromIndex } from './remove.ts';

export interface PruneOptions {
  all: boolean;
  filters: Record<string, string[]>;
  keep(imageId: string): boolean;
}

const known = ['dangling', 'until', 'label', 'label!'];

/**
 * Removes images nobody uses from the index: those without a tag, or with `all` (or `dangling=false`) every one.
 * Filters: `until` (time, Unix time or duration ago, by creation), `label`, `label!`. Throws `invalidParameter`.
 */
export function pruneIndex(index: ImageIndex, options: PruneOptions): RemovedImage[] {
  const matches = filterOf(options);
  const removed: RemovedImage[] = [];
  // Children before their parents: a parent is free once they are gone.
  for (const image of index.all().reverse()) {
    const names = index.namesOf(image.id);
    const hasChild = index.all().some(({ parentId }) => parentId === image.id);
    if (
      hasChild ||
      options.keep(image.id) ||
      !matches(
        image,
        names.some((name) => name.tag),
      )
    )
      continue;
    removed.push(...removeFromIndex(index, image.id, { force: true, prune: false, inUse: () => undefined }));
  }
  return removed;
}

function filterOf({ filters, all }: PruneOptions): (image: ImageRecord, tagged: boolean) => boolean {
  const invalid = (message: string) => isleError('invalidParameter', { message });
  const unknown = Object.keys(filters).find((key) => !known.includes(key));
  if (unknown !== undefined) throw invalid(`invalid filter '${unknown}'`);
  const [dangling, ...more] = filters.dangling ?? [];
  if (more.length > 0 || (dangling !== undefined && !/^(true|false|1|0)$/i.test(dangling)))
    throw invalid(`invalid filter 'dangling=[${(filters.dangling ?? []).join(' ')}]'`);
  const withTags = all || (dangling !== undefined && /^(false|0)$/i.test(dangling));
  if ((filters.until?.length ?? 0) > 1) throw invalid('more than one until filter specified');
  const until = filters.until?.[0] === undefined ? undefined : parseUntil(filters.until[0]);
  return (image, tagged) =>
    (withTags || !tagged) &&
    (until === undefined || Date.parse(image.createdAt || '0') < until) &&
    (filters.label ?? []).every((label) => hasLabel(image, label)) &&
    !(filters['label!'] ?? []).some((label) => hasLabel(image, label));
}

function hasLabel(image: ImageRecord, filter: string): boolean {
  const [, key = filter, value] = /^([^=]*)=(.*)$/s.exec(filter) ?? [];
  const { labels } = image.config;
  return Object.hasOwn(labels, key) && (value === undefined || labels[key] === value);
}

/** Milliseconds since 1970 of a time, a Unix time or a duration before now. */
function parseUntil(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (/^\d+(\.\d+)?(ns|us|µs|ms|s|m|h)/.test(text)) return Date.now() - parseDuration(text) / 1e6;
  const date = Date.parse(text);
  if (Number.isNaN(date)) throw isleError('invalidParameter', { message: `invalid until filter: "${text}"` });
  return date;
}

import type { Image } from '../../images/images.ts';
import { isleError } from '../../lib/errors.ts';
import { parseDuration } from '../../lib/units.ts';
import { type Filters, filterFlag, matchLabels } from '../http/filters.ts';
import { parseTimestamp } from './timestamps.ts';

export const imageFilters = ['before', 'dangling', 'label', 'label!', 'reference', 'since', 'until'] as const;

/** Docker's filters of the image list. */
export function filterImages(list: Image[], filters: Filters, images: { get(name: string): Image }): Image[] {
  const dangling = filterFlag(filters, 'dangling');
  const before = filters.before?.[0] === undefined ? undefined : images.get(filters.before[0]);
  const since = filters.since?.[0] === undefined ? undefined : images.get(filters.since[0]);
  const until = untilTime(filters.until);
  const found = list.filter(
    (image) =>
      (dangling === undefined || dangling === (image.tags.length === 0)) &&
      matchLabels(filters, image.config.labels) &&
      (!before || isOlder(image, before)) &&
      (!since || isOlder(since, image)) &&
      (until === undefined || Date.parse(image.createdAt) < until),
  );
  return filters.reference ? found.flatMap((image) => namedBy(image, filters.reference ?? [])) : found;
}

/** The image with those of its names that match, as Docker lists it; nothing when none does. */
function namedBy(image: Image, patterns: string[]): Image[] {
  const matches = (name: string) => patterns.some((pattern) => matchReference(pattern, name));
  const tags = image.tags.filter(matches);
  const repoDigests = image.repoDigests.filter((name) => matches(name.slice(0, name.indexOf('@'))));
  return tags.length + repoDigests.length > 0 ? [{ ...image, tags, repoDigests }] : [];
}

function isOlder(a: Image, b: Image): boolean {
  return a.id !== b.id && Date.parse(a.createdAt) < Date.parse(b.createdAt);
}

/** A time, or a duration before now: milliseconds since 1970. */
function untilTime(values: string[] | undefined): number | undefined {
  const text = values?.[0];
  if (text === undefined) return undefined;
  if (values!.length > 1)
    throw isleError('invalidParameter', { message: 'more than one until filter specified' });
  if (/^[\d.]+[a-zµ]/.test(text)) return Date.now() - parseDuration(text) / 1e6;
  return Number(BigInt(parseTimestamp(text, 'until') ?? '0') / 1_000_000n);
}

/** Go's path.Match over `name` or `name:tag`: `*` and `?` stop at slashes. */
export function matchReference(pattern: string, tag: string): boolean {
  const at = tag.lastIndexOf(':');
  const name = at > tag.lastIndexOf('/') ? tag.slice(0, at) : tag;
  return [tag, name].some((text) => matchGlob(pattern, text));
}

/** Linear in the text's length for each star; no regular expression made of what a client sends. */
function matchGlob(pattern: string, text: string): boolean {
  const parts = pattern.split('/');
  const pieces = text.split('/');
  return parts.length === pieces.length && parts.every((part, index) => matchSegment(part, pieces[index]!));
}

function matchSegment(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (pattern[p] === '*') {
      star = p++;
      mark = t;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

import { TarError } from '../../lib/tar/entry.ts';

/**
 * The path of a member inside the root, without leading, trailing or double slashes and dots; '' is the root itself.
 * An absolute name starts at the root. One that climbs out with `..` is refused, as Docker does ("breakout").
 */
export function cleanPath(name: string): string {
  if (simple.test(name)) return name;
  if (name.includes('\0')) throw new TarError('its name contains a NUL');
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) throw new TarError('its name leads out of the root');
  }
  const path = parts.join('/');
  if (path.length > 4000) throw new TarError('its name is too long');
  return path;
}

/** The common case, needing no work: no empty, `.` or `..` part. */
const simple = /^(?!\.{1,2}(?:\/|$))[^/\0]+(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+){0,40}$/;

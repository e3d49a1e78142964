import type { Product } from './catalogue.ts';

/**
 * What an image from a server is called when nobody says: `images.example/debian:12`, with the host in front, so that it is
 * never taken for one of a registry's, and a variant behind (`…:12-cloud`).
 */
export function chooseReference(host: string, { aliases, os, release, variant }: Product): string {
  const known = aliases.map((alias) => alias.split('/')).find((parts) => parts.length >= 2);
  const [repository = '', version = ''] = known ?? [os, release];
  const tag = variant === 'default' ? version : `${version}-${variant}`;
  return `${host}/${clean(repository.toLowerCase(), /[^a-z0-9]+/g)}:${clean(tag, /[^\w.-]+/g).slice(0, 128)}`;
}

function clean(text: string, wrong: RegExp): string {
  return text.replace(wrong, '-').replace(/^[^\w]+|[^\w]+$/g, '') || 'image';
}

import { parse } from 'yaml';
import { TarError } from '../../lib/tar/entry.ts';

/** What an LXD or Incus image says of itself. https://linuxcontainers.org/incus/docs/main/reference/image_format/ */
export interface DistributionMetadata {
  /** As written: `x86_64`, `amd64`, `aarch64`, … */
  architecture: string;
  /** ISO 8601; absent when it is no time. */
  createdAt?: string;
  properties: Record<string, string>;
  /** By the path they are written to. */
  templates: Template[];
}

export interface Template {
  path: string;
  /** Name of the file below `templates/`. */
  file: string;
  /** Written when the container is made, and not only at other times. */
  onCreate: boolean;
  createOnly: boolean;
}

/** Bytes of a metadata.yaml; real ones have a few thousand. */
export const metadataBytes = 64 * 1024;

const mostEntries = 200;

/** For worker threads: YAML that is made to take long or much must not hold up anybody. Throws {@link TarError}. */
export function parseMetadata(content: Buffer): DistributionMetadata {
  if (content.length > metadataBytes)
    throw new TarError(`its metadata.yaml has ${content.length} bytes, more than ${metadataBytes}`);
  const text = content.toString('utf8');
  if (isDeep(text)) throw new TarError('its metadata.yaml cannot be read: it is nested too deeply');
  let document: unknown;
  try {
    // No alias is ever needed in there, and a few of them can stand for gigabytes.
    document = parse(text, { maxAliasCount: 0, logLevel: 'error' });
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0]!.slice(0, 200) : String(error);
    throw new TarError(`its metadata.yaml cannot be read: ${why}`, { cause: error });
  }
  const { architecture, creation_date, properties, templates } = mapOf(document, 'metadata.yaml');
  return {
    architecture: architectureOf(architecture),
    createdAt: timeOf(creation_date),
    properties: propertiesOf(mapOf(properties ?? {}, 'properties')),
    templates: Object.entries(mapOf(templates ?? {}, 'templates')).map(([path, value]) =>
      templateOf(path, mapOf(value, `template ${path}`)),
    ),
  };
}

/** The parser takes minutes for a few kilobytes of `? ? ? …`: what nests without new lines is counted before. */
function isDeep(text: string): boolean {
  if (/^[ \t]*(?:[-?:][ \t]+){8}/m.test(text)) return true;
  let depth = 0;
  for (const char of text) {
    if (char === '[' || char === '{') depth++;
    else if (char === ']' || char === '}') depth--;
    if (depth > 20) return true;
  }
  return false;
}

function mapOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TarError(`its ${printable(what)} is no map`);
  if (Object.keys(value).length > mostEntries)
    throw new TarError(`its ${printable(what)} has more than ${mostEntries} entries`);
  return value as Record<string, unknown>;
}

function architectureOf(value: unknown): string {
  if (typeof value === 'string' && /^[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}$/.test(value)) return value;
  throw new TarError('its metadata.yaml names no architecture');
}

/** Seconds since 1970. */
function timeOf(value: unknown): string | undefined {
  const seconds = typeof value === 'string' ? Number(value) : value;
  if (typeof seconds !== 'number' || !(seconds > 0 && seconds < 253_402_300_800)) return undefined;
  return new Date(seconds * 1000).toISOString();
}

/** Those that can be labels as they are; others say nothing that anybody relies on. */
function propertiesOf(map: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(map)
      .map(([key, value]): [string, string] => [key, plainText(value)])
      .filter(([key, value]) => /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/.test(key) && value !== ''),
  );
}

function plainText(value: unknown): string {
  if (!['string', 'number', 'boolean'].includes(typeof value)) return '';
  return printable(String(value)).slice(0, 1024);
}

function templateOf(path: string, map: Record<string, unknown>): Template {
  const { template, when, create_only } = map;
  if (typeof template !== 'string' || !/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$/.test(template))
    throw new TarError(`the template of ${printable(path)} has no valid file name`);
  const times = Array.isArray(when) ? when : ['create'];
  return { path, file: template, onCreate: times.includes('create'), createOnly: create_only === true };
}

function printable(text: string): string {
  return text
    .replace(/\p{C}+/gu, ' ')
    .trim()
    .slice(0, 1024);
}

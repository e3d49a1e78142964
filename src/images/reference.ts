import { isleError } from '../lib/errors.ts';

/**
 * What a user calls an image, parsed by the grammar of `distribution/reference`
 * (https://github.com/distribution/reference) and normalized as Docker does: `busybox` is
 * `docker.io/library/busybox`.
 */
export interface Reference {
  /** `docker.io`, `localhost:5000`, `[::1]:5000`. */
  domain: string;
  /** `library/busybox` */
  path: string;
  tag?: string;
  /** `sha256:…` */
  digest?: string;
}

const defaultDomain = 'docker.io';
const legacyDomain = 'index.docker.io';
const maxInput = 1024;
const maxPath = 255;

const domainPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$/;
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const idPattern = /^[0-9a-f]{64}$/;
const sha256Pattern = /^sha256:[0-9a-f]{64}$/;

/**
 * Parses a name as a user types it; adds no tag. Throws `invalidReference`, nothing else, whatever the text.
 */
export function parseReference(text: string): Reference {
  const fail = (why: string) => isleError('invalidReference', { ref: printable(text), why });
  if (text === '') throw fail('it is empty');
  if (text.length > maxInput) throw fail(`it is longer than ${maxInput} characters`);
  if (idPattern.test(text)) throw fail('64 hexadecimal digits are an image id, not a name');

  const [named = '', digest, more] = text.split('@');
  if (more !== undefined) throw fail('it has more than one "@"');
  if (digest !== undefined && !sha256Pattern.test(digest))
    throw fail(
      digestPattern.test(digest)
        ? 'only sha256 digests of 64 lowercase hexadecimal digits are supported'
        : 'the part after "@" is not a digest (sha256:…)',
    );
  const { domain, rest } = splitDomain(named);
  const colon = rest.indexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  if (path.toLowerCase() !== path) throw fail(`repository name (${printable(path)}) must be lowercase`);
  if (!domainPattern.test(domain)) throw fail(`"${printable(domain)}" is not a registry's host`);
  if (path.length > maxPath) throw fail(`repository name must not be more than ${maxPath} characters`);
  const wrong = path.split('/').find((component) => !componentPattern.test(component));
  if (wrong !== undefined) throw fail(`"${printable(wrong)}" cannot be part of a repository name`);
  if (tag !== undefined && !tagPattern.test(tag))
    throw fail(`"${printable(tag)}" is not a tag (letters, digits, "_", ".", "-", at most 128)`);
  return { domain, path, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
}

/** With tag `latest` where there is neither tag nor digest. */
export function withDefaultTag(ref: Reference): Reference {
  return ref.tag || ref.digest ? ref : { ...ref, tag: 'latest' };
}

/** `docker.io/library/busybox` */
export function canonicalRepository(ref: Reference): string {
  return `${ref.domain}/${ref.path}`;
}

/** `docker.io/library/busybox:latest@sha256:…`, with what it has. */
export function canonicalName(ref: Reference): string {
  return canonicalRepository(ref) + suffix(ref);
}

/** `busybox`: the shortest name that means the same. */
export function familiarRepository(ref: Reference): string {
  if (ref.domain !== defaultDomain) return canonicalRepository(ref);
  const official = /^library\/([^/]+)$/.exec(ref.path)?.[1];
  if (official !== undefined) return idPattern.test(official) ? ref.path : official;
  // `docker.io/a.b/c` stays long: as `a.b/c` it would be read as a registry's host.
  return isHost(ref.path.slice(0, ref.path.indexOf('/'))) ? canonicalRepository(ref) : ref.path;
}

/** `busybox:latest` */
export function familiarName(ref: Reference): string {
  return familiarRepository(ref) + suffix(ref);
}

/** True for a `sha256:` digest as content is named with. */
export function isDigest(text: string): boolean {
  return sha256Pattern.test(text);
}

function suffix(ref: Reference): string {
  return (ref.tag ? `:${ref.tag}` : '') + (ref.digest ? `@${ref.digest}` : '');
}

/** Docker's rule for where a registry's host ends: a first component with a dot, a colon or a capital is a host. */
function splitDomain(named: string): { domain: string; rest: string } {
  const slash = named.indexOf('/');
  const first = slash < 0 ? '' : named.slice(0, slash);
  if (!isHost(first)) return official(named);
  const rest = named.slice(slash + 1);
  return first === defaultDomain || first === legacyDomain ? official(rest) : { domain: first, rest };
}

function isHost(first: string): boolean {
  return /[.:]/.test(first) || first === 'localhost' || first.toLowerCase() !== first;
}

function official(rest: string): { domain: string; rest: string } {
  return { domain: defaultDomain, rest: rest.includes('/') ? rest : `library/${rest}` };
}

/** For a message: one line, bounded, no control characters. */
function printable(text: string): string {
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  return shown.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '?');
}

import type { RegistryAuth } from '../../images/images.ts';
import { isleError } from '../../lib/errors.ts';
import { Fields } from '../http/fields.ts';

/** `X-Registry-Auth`: base64url of JSON. An empty one means anonymous. Throws `invalidParameter`. */
export function parseAuthHeader(header: string | undefined): RegistryAuth | undefined {
  if (!header) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(header, 'base64url').toString('utf8') || '{}');
  } catch (error) {
    throw isleError(
      'invalidParameter',
      { message: 'invalid X-Registry-Auth header: not base64url of JSON' },
      error,
    );
  }
  const auth = parseAuth(new Fields(value ?? {}, 'X-Registry-Auth'));
  return auth.username || auth.identityToken || auth.registryToken ? auth : undefined;
}

/** AuthConfig. `auth` is base64 of `name:password`, as clients' configuration files have it. */
export function parseAuth(fields: Fields): RegistryAuth {
  const pair = Buffer.from(fields.text('auth'), 'base64').toString('utf8');
  const at = pair.indexOf(':');
  return {
    username: fields.text('username') || (at > 0 ? pair.slice(0, at) : undefined),
    password: fields.text('password') || (at > 0 ? pair.slice(at + 1) : undefined),
    identityToken: fields.text('identitytoken') || undefined,
    registryToken: fields.text('registrytoken') || undefined,
    serverAddress: fields.text('serveraddress') || undefined,
  };
}

import { isleError } from '../../lib/errors.ts';

/** The minor number of an Engine API version: all that Isle serves are 1.x. */
export type ApiVersion = number;

export const minimumVersion: ApiVersion = 24;
export const currentVersion: ApiVersion = 51;

export function formatVersion(version: ApiVersion): string {
  return `1.${version}`;
}

/**
 * The version named in a path's prefix (`1.43`). The texts are Docker's: clients show them, and some retry with
 * another version when they see them. Throws `invalidParameter`.
 */
export function parseVersion(text: string): ApiVersion {
  const match = /^(\d{1,4})\.(\d{1,4})$/.exec(text);
  const major = Number(match?.[1] ?? 0);
  const minor = Number(match?.[2] ?? 0);
  if (match && (major > 1 || (major === 1 && minor > currentVersion)))
    throw isleError('invalidParameter', {
      message: `client version ${text} is too new. Maximum supported API version is ${formatVersion(currentVersion)}`,
    });
  if (!match || major < 1 || minor < minimumVersion)
    throw isleError('invalidParameter', {
      message: `client version ${text} is too old. Minimum supported API version is ${formatVersion(minimumVersion)}, please upgrade your client to a newer version`,
    });
  return minor;
}

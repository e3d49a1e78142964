import { posix } from 'node:path';
import type { Propagation } from '../../../engine/model.ts';
import { isleError } from '../../../lib/errors.ts';

export function parsePropagation(text: string): Propagation | undefined {
  if (text === '') return undefined;
  const known: Propagation[] = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];
  const found = known.find((propagation) => propagation === text);
  if (!found) throw isleError('invalidParameter', { message: `invalid propagation mode: ${text}` });
  return found;
}

/** Volume names become directory names. Throws `invalidParameter`. */
export function checkVolumeName(name: string): void {
  if (name.length === 1)
    throw isleError('invalidParameter', {
      message: `volume name "${name}" is too short, names should be at least two alphanumeric characters`,
    });
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/.test(name))
    throw isleError('invalidParameter', {
      message: `"${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    });
}

/** An absolute path inside the container that is not its root. Throws `invalidParameter`. */
export function parseTarget(target: string, what: string): string {
  const invalid = (why: string): Error => isleError('invalidParameter', { message: `${what}: ${why}` });
  if (target === '') throw invalid('the path inside the container is empty');
  if (!target.startsWith('/')) throw invalid(`invalid mount path: '${target}' mount path must be absolute`);
  const path = posix.normalize(target).replace(/(.)\/$/, '$1');
  if (path === '/') throw invalid(`destination can't be '/'`);
  return path;
}

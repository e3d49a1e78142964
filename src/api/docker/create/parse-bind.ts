import { posix } from 'node:path';
import type { MountSpec } from '../../../engine/model.ts';
import { isleError } from '../../../lib/errors.ts';
import { checkVolumeName, parsePropagation, parseTarget } from './mount-checks.ts';

/** One of `Binds`: `SOURCE:TARGET[:OPTIONS]`, where a SOURCE without slash names a volume. Throws `invalidParameter`. */
export function parseBind(bind: string): MountSpec {
  const parts = bind.split(':');
  const what = `invalid volume specification: '${bind}'`;
  const [source = '', target = '', mode] = parts;
  if (parts.length < 2 || parts.length > 3 || source === '') throw invalid(what);
  const isPath = source.startsWith('/');
  if (!isPath && source.includes('/'))
    throw invalid(`${what}: the host path must be absolute (a name without slashes is a volume)`);
  if (!isPath) checkVolumeName(source);
  return {
    type: isPath ? 'bind' : 'volume',
    source: isPath ? posix.normalize(source) : source,
    target: parseTarget(target, what),
    readOnly: false,
    ...(isPath && { createSource: true }),
    ...(mode !== undefined && { mode, ...parseOptions(mode, isPath, what) }),
    origin: 'binds',
  };
}

function parseOptions(mode: string, isPath: boolean, what: string): Partial<MountSpec> {
  const result: Partial<MountSpec> = {};
  const seen = new Set<string>();
  for (const option of mode.split(',')) {
    const kind = kindOf(option);
    if (kind === undefined || seen.has(kind)) throw invalid(`${what}: invalid mode: ${mode}`);
    seen.add(kind);
    if (kind === 'access') result.readOnly = option === 'ro';
    if (kind === 'copy') {
      if (isPath) throw invalid(`${what}: nocopy is for volumes, not for host paths`);
      result.noCopy = true;
    }
    if (kind === 'propagation') {
      if (!isPath) throw invalid(`${what}: propagation is for host paths, not for volumes`);
      result.propagation = parsePropagation(option);
    }
  }
  return result;
}

function kindOf(option: string): string | undefined {
  if (option === 'ro' || option === 'rw') return 'access';
  if (option === 'nocopy') return 'copy';
  // Labels for SELinux: as with Docker, without effect where SELinux is off.
  if (option === 'z' || option === 'Z') return 'label';
  if (/^r?(private|shared|slave)$/.test(option)) return 'propagation';
  if (/^(consistent|cached|delegated|default)$/.test(option)) return 'consistency';
  return undefined;
}

function invalid(message: string): Error {
  return isleError('invalidParameter', { message });
}

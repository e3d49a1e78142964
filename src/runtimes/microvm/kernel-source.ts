import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { installationRoots } from '../../host/installation.ts';
import { isleError } from '../../lib/errors.ts';

/**
 * Where the guest's kernel comes from: what the configuration names, or what `scripts/fetch-guest` has fetched. Throws
 * `unavailable` with what to do.
 */
export function kernelSource(configured: string | undefined): string {
  if (configured !== undefined) {
    if (existsSync(configured)) return configured;
    throw isleError('unavailable', {
      message: `microvm.kernelSource names ${configured}, which does not exist`,
    });
  }
  const found = installationRoots()
    .map((root) => join(root, '.cache/guest'))
    .find((path) => existsSync(join(path, 'vmlinuz')));
  if (found !== undefined) return found;
  throw isleError('unavailable', {
    message:
      'there is no kernel for guests yet: run scripts/fetch-guest, or name one of yours as microvm.kernelSource',
  });
}

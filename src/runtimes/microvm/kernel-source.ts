import { existsSync } from 'node:fs';
import { fetchedKernel } from '../../host/microvm-tools.ts';
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
  const found = fetchedKernel();
  if (found !== undefined) return found;
  throw isleError('unavailable', {
    message:
      'there is no kernel for guests yet: run sh scripts/bootstrap --microvms, or name one of yours as microvm.kernelSource',
  });
}

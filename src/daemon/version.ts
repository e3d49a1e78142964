import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Set by the bundler. */
declare const ISLE_VERSION: string | undefined;

export const version: string = typeof ISLE_VERSION === 'string' ? ISLE_VERSION : fromPackage();

function fromPackage(): string {
  const path = join(import.meta.dirname, '../../package.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}

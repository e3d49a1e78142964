import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isleRoot } from './root.ts';

/** Put in by the bundler. */
declare const ISLE_VERSION: string | undefined;

/** Isle's version: the bundle knows it, the sources read package.json. */
export function isleVersion(): string {
  if (typeof ISLE_VERSION !== 'undefined') return ISLE_VERSION;
  const manifest = readFileSync(join(isleRoot(), 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

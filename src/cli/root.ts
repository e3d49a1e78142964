import { join } from 'node:path';

/** Set by the bundler: true inside `dist/`. */
declare const ISLE_BUNDLED: boolean | undefined;
/** Only where the file is CommonJS, as the bundle is. */
declare const __dirname: string | undefined;

const bundled = typeof ISLE_BUNDLED !== 'undefined' && ISLE_BUNDLED;
const here = (): string => (typeof __dirname === 'string' ? __dirname : import.meta.dirname);

/** The folder that holds the launcher `isle`. */
export function isleRoot(): string {
  return bundled ? join(here(), '..') : join(here(), '../..');
}

/** The file that is the daemon: the command line starts it, and never loads it into itself otherwise. */
export function daemonFile(): string {
  return bundled ? join(here(), 'daemon.mjs') : join(isleRoot(), 'src/daemon/main.ts');
}

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
function daemonFile(): string {
  return bundled ? join(here(), 'daemon.mjs') : join(isleRoot(), 'src/daemon/main.ts');
}

const peelingOff = '--no-maglev-optimistic-peeled-loops';

/**
 * The call that is the daemon. A small young generation and one malloc arena keep an idle engine ten megabytes
 * smaller, and cost nothing that the benchmark can see.
 *
 * Maglev's optimistic loop peeling miscompiles a loop over a variable that a closure changes, in V8 14.x as of Node 26.10: it goes
 * on with the value of before. LZ4 data came out damaged, without an error. What else it would hit nobody knows, so it is off.
 */
export function daemonCall(args: readonly string[]): { argv: string[]; env: NodeJS.ProcessEnv } {
  const flags = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1', peelingOff];
  return {
    argv: [process.execPath, ...flags, daemonFile(), ...args],
    env: { ...process.env, MALLOC_ARENA_MAX: '1' },
  };
}

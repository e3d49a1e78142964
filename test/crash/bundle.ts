import { globSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '../..');

/** The daemon bundled as for a release, but with its failpoints: starts several times faster than from source. */
export async function bundleDaemon(outdir: string): Promise<string> {
  const workers = globSync('src/**/*-worker.ts', { cwd: root });
  await build({
    bundle: true,
    platform: 'node',
    target: 'node26',
    format: 'esm',
    splitting: true,
    logLevel: 'warning',
    define: { ISLE_BUNDLED: 'true', ISLE_VERSION: '"0.0.0-crash"' },
    entryPoints: [
      { in: join(root, 'src/daemon/main.ts'), out: 'daemon' },
      ...workers.map((file) => ({ in: join(root, file), out: basename(file, '.ts') })),
    ],
    outdir,
    outExtension: { '.js': '.mjs' },
    banner: {
      js: "import { createRequire as isleRequire } from 'node:module'; const require = isleRequire(import.meta.url);",
    },
  });
  return join(outdir, 'daemon.mjs');
}

/** Every failpoint of the sources. */
export function failpoints(read: (path: string) => string): string[] {
  const names = new Set<string>();
  for (const file of globSync('src/**/*.ts', { cwd: root })) {
    if (file.endsWith('.test.ts')) continue;
    for (const match of read(join(root, file)).matchAll(/failpoint\('([^'…]+)'\)/g)) names.add(match[1]!);
  }
  // Backwards: an early kill of a download leaves a part that the next life goes on with, a late one leaves all of it.
  return [...names].sort().reverse();
}

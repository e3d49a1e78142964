/**
 * Bundles the sources into `dist/`: the command line as one CommonJS file (fastest to load), the daemon and its
 * worker threads as ES modules that share chunks. Failpoints are compiled away.
 */
import {
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { builtinModules } from 'node:module';
import { basename, join } from 'node:path';
import { build, type BuildOptions, type Plugin } from 'esbuild';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const version = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;

const common: BuildOptions = {
  bundle: true,
  platform: 'node',
  target: 'node26',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
  define: {
    ISLE_BUNDLED: 'true',
    ISLE_VERSION: JSON.stringify(version),
    'process.env.ISLE_FAILPOINT': 'undefined',
  },
};

/** Commands in everybody's fingers and scripts: each has a bundle without the others, so that less is read. */
const hot = ['run', 'exec', 'version', 'ps', 'rm'];

mkdirSync(dist, { recursive: true });
// A daemon that runs from an earlier bundle may still load its chunks: only old ones go.
const dayAgo = Date.now() - 24 * 3600 * 1000;
for (const name of readdirSync(dist)) {
  if (name.startsWith('chunk-') && statSync(join(dist, name)).mtimeMs < dayAgo) rmSync(join(dist, name));
}

await Promise.all([bundleCommandLine(), bundleDaemon()]);

for (const file of ['isle.cjs', 'cli.cjs', 'daemon.mjs']) {
  if (statSync(join(dist, file)).size === 0) throw new Error(`dist/${file} is empty`);
}

async function bundleCommandLine(): Promise<void> {
  const whole: BuildOptions = {
    ...common,
    entryPoints: [join(root, 'src/cli/main.ts')],
    format: 'cjs',
    // A third less to read at every call.
    minifyIdentifiers: true,
    // Code that asks where it lies looks at __dirname first.
    logOverride: { 'empty-import-meta': 'silent' },
  };
  await Promise.all([
    build({ ...whole, outfile: join(dist, 'cli.cjs') }),
    ...hot.map((name) => build({ ...whole, outfile: join(dist, `cli-${name}.cjs`), plugins: [only(name)] })),
  ]);
  // V8's code cache must be on before the real file loads.
  const entry = [
    `require('node:module').enableCompileCache(require('node:path').join(__dirname, '.compile-cache'));`,
    `const name = process.argv[2];`,
    `require(${JSON.stringify(hot)}.includes(name) ? './cli-' + name + '.cjs' : './cli.cjs');`,
  ];
  writeFileSync(join(dist, 'isle.cjs'), `${entry.join('\n')}\n`);
}

/** Leaves the other commands out: a call of this one never loads them. */
function only(name: string): Plugin {
  const kept = `/commands/${name}.ts`;
  if (!existsSync(join(root, 'src/cli', kept))) throw new Error(`there is no command ${name}`);
  return {
    name: 'only',
    setup: ({ onResolve }) => {
      onResolve({ filter: /^\.\.?\/commands\/.*\.ts$/ }, ({ path }) =>
        path.endsWith(kept) ? undefined : { path: './cli.cjs', external: true },
      );
    },
  };
}

/**
 * Node's own modules through `process.getBuiltinModule`: an ES import of one evaluates everything it exports, and
 * node:http alone then loads a whole HTTP client. What only pulls need is loaded by its first use. Saves a daemon
 * some ten megabytes.
 */
function lazyBuiltins(): Plugin {
  return {
    name: 'lazy-builtins',
    setup({ onResolve, onLoad }) {
      const names = builtinModules.map((name) => name.replaceAll('/', '\\/')).join('|');
      onResolve({ filter: new RegExp(`^(node:.*|${names})$`) }, ({ path }) => ({
        path,
        namespace: 'builtin',
      }));
      onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => {
        const load = `process.getBuiltinModule(${JSON.stringify(path)})`;
        const lazy = /^(node:)?(http2|https|tls)$/.test(path);
        // Every name as a getter: esbuild's interop copies own names, which a bare proxy would not have.
        const getters = Object.keys(process.getBuiltinModule(path) ?? {})
          .map((name) => `get ${JSON.stringify(name)}() { return ${load}[${JSON.stringify(name)}] }`)
          .join(', ');
        return { contents: `module.exports = ${lazy ? `{ ${getters} }` : load}`, loader: 'js' };
      });
    },
  };
}

async function bundleDaemon(): Promise<void> {
  const workers = globSync('src/**/*-worker.ts', { cwd: root });
  const names = workers.map((file) => basename(file));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice) throw new Error(`two workers are called ${twice}: their bundles would overwrite each other`);
  await build({
    ...common,
    entryPoints: [
      { in: join(root, 'src/daemon/main.ts'), out: 'engine' },
      ...workers.map((file) => ({ in: join(root, file), out: basename(file, '.ts') })),
    ],
    format: 'esm',
    splitting: true,
    outdir: dist,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunk-[hash]',
    plugins: [lazyBuiltins()],
    // Its CommonJS form loses its names where it is imported dynamically; this is the same code as ES modules.
    alias: { yaml: join(root, 'node_modules/yaml/browser/index.js') },
    banner: {
      js: "import { createRequire as isleCreateRequire } from 'node:module'; const require = isleCreateRequire(import.meta.url);",
    },
  });
  writeFileSync(
    join(dist, 'daemon.mjs'),
    `import { enableCompileCache } from 'node:module';\nenableCompileCache(import.meta.dirname + '/.compile-cache');\nawait import('./engine.mjs');\n`,
  );
}

/** Set by the bundler: true inside `dist/`, absent when running from source. */
declare const ISLE_BUNDLED: boolean | undefined;

/**
 * Where a worker thread's entry lies: its TypeScript source when running from source, the bundle of the same
 * name beside the caller's otherwise. The bundler makes an entry of every file that ends in `-worker.ts`;
 * their names are unique.
 *
 * @example new Worker(workerFile(import.meta.url, './unpack-worker.ts'))
 */
export function workerFile(callerUrl: string, relativeSource: string): URL {
  const bundled = typeof ISLE_BUNDLED !== 'undefined' && ISLE_BUNDLED;
  if (!bundled) return new URL(relativeSource, callerUrl);
  const name = relativeSource.slice(relativeSource.lastIndexOf('/') + 1).replace(/\.ts$/, '.mjs');
  return new URL(`./${name}`, callerUrl);
}

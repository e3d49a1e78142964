import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { installationRoots } from './installation.ts';

/**
 * The addon's calls that a face needs, by name. The only place that loads `build/isle.node`.
 *
 * A call `name` gives a promise and runs on libuv's thread pool; `nameSync` is the same on the calling thread:
 * for worker threads, and for what takes microseconds. Failures are system errors (`code`, `errno`, `syscall`).
 *
 * @example
 * interface Calls { umount(path: string, flags: number): Promise<void> }
 * const calls = nativeCalls<Calls>()('umount');
 */
export function nativeCalls<T extends object>(): (...names: (keyof T & string)[]) => T {
  return (...names) => {
    const missing = names.filter((name) => !(name in addon));
    if (missing.length > 0) throw new Error(`build/isle.node lacks ${missing.join(', ')}: ${advice}`);
    return addon as T;
  };
}

const advice = 'run scripts/build-native';

const addon = load();

function load(): object {
  const path = installationRoots()
    .map((root) => join(root, 'build', 'isle.node'))
    .find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error(`build/isle.node is missing: ${advice}`);
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}

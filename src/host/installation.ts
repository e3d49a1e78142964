import { existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The folders that may hold Isle's `build/` and `dist/`, likeliest first: from source this file lies in src/host; in a
 * bundle, where `import.meta` may be empty, in dist.
 */
export function installationRoots(): string[] {
  const here = (import.meta.dirname as string | undefined) ?? __dirname;
  const found = [join(here, '..', '..'), join(here, '..')];
  return process.env.ISLE_ROOT === undefined ? found : [process.env.ISLE_ROOT, ...found];
}

/** The path of a static program that `scripts/build-native` makes (`isle-probe`); throws where it has not been built. */
export function programPath(name: string): string {
  const path = installationRoots()
    .map((root) => join(root, 'build', name))
    .find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error(`build/${name} is missing: run scripts/build-native`);
  return path;
}

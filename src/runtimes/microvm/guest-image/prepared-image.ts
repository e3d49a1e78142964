import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../../lib/errors.ts';

export interface GuestImage {
  /** Paths for QEMU, which takes the kernel by its content, whatever its name. */
  kernel: string;
  initramfs: string;
  /** As `uname -r` says. */
  version: string;
  /** QEMU starts it by its PVH entry, without a decompressor in the guest. */
  pvh: boolean;
}

/** Kept beside the files. */
export interface AboutImage {
  version: string;
  pvh: boolean;
  /** Bytes of the kernel and of the initramfs. */
  sizes: number[];
  /** {@link sourceIdentity} of what it was made from. */
  source: string;
}

export function pathsIn(directory: string): { kernel: string; initramfs: string; about: string } {
  return {
    kernel: join(directory, 'vmlinux'),
    initramfs: join(directory, 'initramfs'),
    about: join(directory, 'about.json'),
  };
}

/** Undefined when it is not there, or not as it was written: then it is made again. */
export async function readPrepared(
  directory: string,
): Promise<(GuestImage & { source: string }) | undefined> {
  const { kernel, initramfs, about } = pathsIn(directory);
  try {
    // An earlier release wrote less.
    const { version, pvh, sizes, source } = JSON.parse(await readFile(about, 'utf8')) as Partial<AboutImage>;
    if (version === undefined || pvh === undefined || source === undefined) return undefined;
    const found = await Promise.all([kernel, initramfs].map(async (path) => (await stat(path)).size));
    return found.join() === sizes?.join() ? { kernel, initramfs, version, pvh, source } : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The one in `target` that was made of the same source, without looking into that. */
export async function findPrepared(target: string, source: string): Promise<GuestImage | undefined> {
  const names = await readdir(target).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  for (const name of names.filter((one) => !one.includes('.'))) {
    const prepared = await readPrepared(join(target, name));
    if (prepared?.source !== source) continue;
    const { kernel, initramfs, version, pvh } = prepared;
    return { kernel, initramfs, version, pvh };
  }
  return undefined;
}

export interface SourceFiles {
  kernel: string;
  /** A kernel's /lib/modules/VERSION; absent: it has all it needs built in. */
  modules?: string;
}

/** Throws when there is nothing, or the modules of more than one kernel. */
export async function sourceFiles(source: string): Promise<SourceFiles> {
  if ((await stat(source)).isFile()) return { kernel: source };
  const modules = join(source, 'modules');
  const [version, ...others] = await readdir(modules);
  if (version === undefined) throw new Error(`${modules} is empty`);
  if (others.length > 0) throw new Error(`${modules} has modules of more than one kernel`);
  return { kernel: join(source, 'vmlinuz'), modules: join(modules, version) };
}

/** Changes when a file is written again or another one comes in its place; a package brings all its modules anew. */
export async function sourceIdentity({ kernel, modules }: SourceFiles, init: string): Promise<string> {
  const paths = [kernel, init, ...(modules === undefined ? [] : [modules])];
  const all = await Promise.all(paths.map((path) => stat(path, { bigint: true })));
  return all
    .map(({ dev, ino, size, mtimeNs, ctimeNs }) => [dev, ino, size, mtimeNs, ctimeNs].join(' '))
    .join(', ');
}

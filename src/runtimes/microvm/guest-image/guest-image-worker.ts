import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { failpoint } from '../../../lib/failpoint.ts';
import { errnoOf } from '../../../lib/errors.ts';
import { serveThread } from '../../../lib/threads.ts';
import { packCpio } from './cpio.ts';
import { readKernelImage } from './kernel-image.ts';
import { selectModules, type GuestModule } from './modules.ts';

export interface GuestImageJob {
  /** A directory with `vmlinuz` and `modules/VERSION`, or a kernel that has all it needs built in. */
  source: string;
  /** The directory that keeps what is prepared. */
  target: string;
  /** The guest's first program. */
  init: string;
}

export interface GuestImage {
  kernel: string;
  initramfs: string;
  version: string;
  pvh: boolean;
}

/** Kept beside the files. */
interface About {
  version: string;
  pvh: boolean;
  /** Bytes of the kernel and of the initramfs. */
  sizes: number[];
}

/** Of what this file makes out of the same input. */
const format = 2;

if (parentPort) serveThread<GuestImageJob>(parentPort, prepare);

async function prepare({ source, target, init }: GuestImageJob): Promise<GuestImage> {
  const files = await sourceFiles(source);
  const [kernel, program] = await Promise.all([readFile(files.kernel), readFile(init)]);
  const modules = files.modules === undefined ? [] : await selectModules(files.modules);
  const initramfs = makeInitramfs(program, modules);
  const key = createHash('sha256').update(`${format}\n`).update(kernel).update(initramfs).digest('hex');
  const directory = join(target, key.slice(0, 32));
  await mkdir(target, { recursive: true, mode: 0o700 });
  const known = await readPrepared(directory);
  if (known) return known;
  const image = await readKernelImage(kernel);
  const sizes = [image.data.length, initramfs.length];
  const about: About = { version: image.version, pvh: image.pvh, sizes };
  await write(target, directory, {
    kernel: image.data,
    initramfs,
    about: Buffer.from(JSON.stringify(about)),
  });
  await removeOthers(target, directory);
  return { ...pathsIn(directory), version: about.version, pvh: about.pvh };
}

async function sourceFiles(source: string): Promise<{ kernel: string; modules?: string }> {
  if ((await stat(source)).isFile()) return { kernel: source };
  const modules = join(source, 'modules');
  const [version, ...others] = await readdir(modules);
  if (version === undefined) throw new Error(`${modules} is empty`);
  if (others.length > 0) throw new Error(`${modules} has modules of more than one kernel`);
  return { kernel: join(source, 'vmlinuz'), modules: join(modules, version) };
}

/** The kernel has /dev/console from its own first archive; it is here for those that have none. */
function makeInitramfs(init: Buffer, modules: GuestModule[]): Buffer {
  const files = new Map(modules.map(({ file, data }) => [file, data]));
  const list = modules.map(({ class: of, file }) => `${of} ${file}\n`).join('');
  return packCpio([
    { path: 'dev', mode: 0o040755 },
    { path: 'dev/console', mode: 0o020600, device: { major: 5, minor: 1 } },
    { path: 'init', mode: 0o100755, data: init },
    { path: 'modules', mode: 0o040755 },
    { path: 'modules/list', mode: 0o100644, data: Buffer.from(list) },
    ...[...files].map(([file, data]) => ({ path: `modules/${file}`, mode: 0o100644, data })),
  ]);
}

/** QEMU takes the kernel by its content, whatever its name. */
function pathsIn(directory: string): { kernel: string; initramfs: string } {
  return { kernel: join(directory, 'vmlinux'), initramfs: join(directory, 'initramfs') };
}

/** Undefined when it is not there, or not as it was written: then it is made again. */
async function readPrepared(directory: string): Promise<GuestImage | undefined> {
  const { kernel, initramfs } = pathsIn(directory);
  try {
    const about = JSON.parse(await readFile(join(directory, 'about.json'), 'utf8')) as About;
    const sizes = await Promise.all([kernel, initramfs].map(async (path) => (await stat(path)).size));
    if (sizes.join() !== about.sizes.join()) return undefined;
    return { kernel, initramfs, version: about.version, pvh: about.pvh };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The directory appears whole or not at all. */
async function write(
  target: string,
  directory: string,
  data: { kernel: Buffer; initramfs: Buffer; about: Buffer },
): Promise<void> {
  const draft = `${directory}.draft`;
  await rm(draft, { recursive: true, force: true });
  failpoint('guest.image.before');
  await mkdir(draft, { mode: 0o700 });
  const { kernel, initramfs } = pathsIn(draft);
  await writeSynced(kernel, data.kernel);
  await writeSynced(initramfs, data.initramfs);
  await writeSynced(join(draft, 'about.json'), data.about);
  // One that was damaged may be in the way.
  await rm(directory, { recursive: true, force: true });
  await rename(draft, directory);
  await syncDirectory(target);
  failpoint('guest.image.after');
}

async function writeSynced(path: string, data: Buffer): Promise<void> {
  await using file = await open(path, 'wx', 0o644);
  await file.writeFile(data);
  await file.sync();
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}

/** Of former kernels, inits and daemons that were killed. A guest that runs needs its files no more. */
async function removeOthers(target: string, kept: string): Promise<void> {
  for (const name of await readdir(target))
    if (join(target, name) !== kept) await rm(join(target, name), { recursive: true, force: true });
}

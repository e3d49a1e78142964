import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { failpoint } from '../../../lib/failpoint.ts';
import { serveThread } from '../../../lib/threads.ts';
import { packCpio } from './cpio.ts';
import { readKernelImage } from './kernel-image.ts';
import { selectModules, type GuestModule } from './modules.ts';
import { pathsIn, type AboutImage, type SourceFiles } from './prepared-image.ts';

export interface GuestImageJob {
  files: SourceFiles;
  /** {@link sourceIdentity} of the files. */
  source: string;
  /** The directory that keeps what is prepared. */
  target: string;
  /** The guest's first program. */
  init: string;
}

/** Of what this file makes out of the same input. */
const format = 3;

if (parentPort) serveThread<GuestImageJob>(parentPort, prepare);

async function prepare({ files, source, target, init }: GuestImageJob): Promise<void> {
  const [kernel, program] = await Promise.all([readFile(files.kernel), readFile(init)]);
  const modules = files.modules === undefined ? [] : await selectModules(files.modules);
  const initramfs = makeInitramfs(program, modules);
  const key = createHash('sha256').update(`${format}\n`).update(kernel).update(initramfs).digest('hex');
  const directory = join(target, key.slice(0, 32));
  await mkdir(target, { recursive: true, mode: 0o700 });
  const image = await readKernelImage(kernel);
  const sizes = [image.data.length, initramfs.length];
  const about: AboutImage = { version: image.version, pvh: image.pvh, sizes, source };
  await write(target, directory, {
    kernel: image.data,
    initramfs,
    about: Buffer.from(JSON.stringify(about)),
  });
  await removeOthers(target, directory);
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
  const paths = pathsIn(draft);
  await writeSynced(paths.kernel, data.kernel);
  await writeSynced(paths.initramfs, data.initramfs);
  await writeSynced(paths.about, data.about);
  // One that was damaged, or made of files since copied, may be in the way.
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

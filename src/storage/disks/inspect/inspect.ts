import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isleError, messageOf } from '../../../lib/errors.ts';
import type { ForeignFormat } from '../../disks.ts';
import { maxDiskSize } from '../names.ts';
import { checkImage, imageInfo, type ImageNode } from '../qemu-img.ts';
import { cutOff, refused } from './bytes.ts';
import { inspectParallels, inspectVdi, inspectVpc } from './other-formats.ts';
import { inspectQcow2 } from './qcow2.ts';
import { looksLike } from './signature.ts';
import { inspectVhdx } from './vhdx.ts';
import { inspectVmdk, type VmdkPart } from './vmdk.ts';

/** An image from outside that has been looked at, its files held open: what is read later is what was looked at. */
export interface ForeignImage extends AsyncDisposable {
  /** For qemu-img. */
  node: ImageNode;
  /** Its further files. */
  extents: { path: string; inside: string }[];
  /** bytes the guest sees */
  size: number;
}

/**
 * Opens the file at `path` as `format` and refuses what a disk of its own must not be: see Disks.import. First by its header,
 * with words for people, then by what a confined qemu-img says. `chain`: what a qcow2 image may stand on, nearest first. Throws `invalidDisk`, `invalidParameter` for a path that cannot be read.
 */
export async function openForeign(
  path: string,
  format: ForeignFormat,
  chain: readonly string[] = [],
): Promise<ForeignImage> {
  await using held = new AsyncDisposableStack();
  if (chain.length > 0 && format !== 'qcow2')
    throw isleError('invalidParameter', { message: `only qcow2 stands on other files, not ${format}` });
  const { file, size: length, real } = await openForeignFile(path, format);
  held.defer(() => file.close());
  const header = await inspectHeader(file, length, format, chain.length > 0);
  checkSize(header.size);
  const extents = await Promise.all(
    header.extents.map(async ({ name, least }) => {
      const extent = await openPlain(join(dirname(real), name), `its part ${name}`);
      held.defer(() => extent.file.close());
      if (extent.size < least)
        throw refused(`its part ${name} was cut off: ${extent.size} of ${least} bytes`);
      return { path: handlePath(extent.file), inside: `/source/${name}` };
    }),
  );
  // A description in a file of its own names its parts; no part may be called as it is.
  const inside = extents.length > 0 ? '/source/.description' : '/source/image';
  const node: ImageNode = { driver: format, path: handlePath(file), inside };
  const size = format === 'raw' ? length : await ask(node, extents, format, length, chain.length > 0);
  let upper = node;
  for (const below of chain) {
    const base = await openForeignFile(below, format);
    held.defer(() => base.file.close());
    await inspectHeader(base.file, base.size, format, true);
    upper.backing = { driver: format, path: handlePath(base.file) };
    upper = upper.backing;
  }
  const kept = held.move();
  return { node, extents, size, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function openForeignFile(path: string, format: ForeignFormat) {
  // What the caller holds open stays that file, whatever its name is given to meanwhile.
  const held = path.startsWith(`/proc/${process.pid}/fd/`);
  const real = held
    ? path
    : await realpath(path).catch((error: unknown) => {
        throw unreadable(path, error);
      });
  const { file, size } = await openPlain(real, path, held ? 0 : constants.O_NOFOLLOW);
  try {
    await checkFormat(file, size, format);
  } catch (error) {
    await file.close();
    throw error;
  }
  return { file, size, real };
}

function handlePath(file: FileHandle): string {
  return `/proc/${process.pid}/fd/${file.fd}`;
}

/** Opening must do nothing and wait for nothing, whatever lies there. */
async function openPlain(
  path: string,
  what = path,
  follow: number = constants.O_NOFOLLOW,
): Promise<{ file: FileHandle; size: number }> {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | follow;
  const file = await open(path, flags).catch((error: unknown) => {
    throw unreadable(what, error);
  });
  const found = await file.stat();
  if (found.isFile()) return { file, size: found.size };
  await file.close();
  throw refused(`${what} is no plain file`);
}

function unreadable(path: string, error: unknown): Error {
  return isleError('invalidParameter', { message: `cannot read ${path}: ${messageOf(error)}` }, error);
}

async function checkFormat(file: FileHandle, length: number, format: ForeignFormat): Promise<void> {
  if (length === 0) throw refused('it is empty');
  const looks = await looksLike(file, length);
  if (looks !== undefined && looks !== format)
    throw refused(`it is said to be ${format}, but begins or ends as ${looks}: say which format it has`);
  if (looks === undefined && format !== 'raw')
    throw refused(`it is said to be ${format}, but does not begin as one`);
}

async function inspectHeader(
  file: FileHandle,
  length: number,
  format: ForeignFormat,
  stands: boolean,
): Promise<{ size: number; extents: VmdkPart[] }> {
  if (format === 'vmdk') return inspectVmdk(file);
  const size = {
    raw: async () => length,
    qcow2: () => inspectQcow2(file, stands),
    vdi: () => inspectVdi(file, length),
    vhdx: () => inspectVhdx(file),
    vpc: () => inspectVpc(file, length),
    parallels: () => inspectParallels(file, length),
  }[format];
  return { size: await size(), extents: [] };
}

function checkSize(size: number): void {
  if (size === 0) throw refused('its virtual size is 0');
  if (size > maxDiskSize)
    throw refused(`its virtual size is ${size} bytes: at most ${maxDiskSize / 1024 ** 4} TiB are taken in`);
}

/** What qemu-img makes of it, which is what will be converted. */
async function ask(
  node: ImageNode,
  extents: ForeignImage['extents'],
  format: ForeignFormat,
  length: number,
  stands: boolean,
): Promise<number> {
  const info = await imageInfo(node, extents);
  const data = info['format-specific']?.data ?? {};
  if ((info['backing-filename'] !== undefined && !stands) || data['data-file'] !== undefined)
    throw refused('it names another file that it stands on');
  if (info.encrypted === true || data.encrypt !== undefined) throw refused('it is encrypted');
  if (info.format !== format) throw refused(`it was read as ${info.format}, not as ${format}`);
  checkSize(info['virtual-size']);
  // Its last cluster may be shorter in the file.
  if (format !== 'vpc') await checkWhole(node, extents, length + (info['cluster-size'] ?? 65_536) - 1);
  return info['virtual-size'];
}

/** Its tables agree with each other, and nothing of it lies behind its end: reading that would give zeros. */
async function checkWhole(node: ImageNode, extents: ForeignImage['extents'], length: number): Promise<void> {
  const found = await checkImage(node, extents);
  const end = found['image-end-offset'] ?? 0;
  if (extents.length === 0 && end > length) throw cutOff(end, length);
  if ((found.corruptions ?? 0) > 0 || (found['check-errors'] ?? 0) > 0)
    throw refused('it is damaged: its tables contradict each other (qemu-img check -r all may repair it)');
}

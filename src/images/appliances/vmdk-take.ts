import { posix } from 'node:path';
import type { ApplianceDiskFile } from '../appliances.ts';
import { bounds } from './bounds.ts';
import { RawImage, type Run } from './raw-image.ts';
import { refusal } from './refuse.ts';
import { readAll, type ApplianceFile, type ApplianceSource } from './source.ts';
import { parseVmdkDescriptor, type VmdkDescriptor, type VmdkExtent } from './vmdk-descriptor.ts';
import { readSparseHeader, sparseRuns } from './vmdk-sparse.ts';

export interface TakeVmdkOptions {
  directory: string;
  /** bytes, as the machine's description says */
  size?: number;
  signal?: AbortSignal;
}

interface Layer {
  file: ApplianceFile;
  descriptor: VmdkDescriptor;
}

const descriptorLimit = 1 << 20;
/** VMware makes chains of 32. */
const longestChain = 64;

/**
 * One file stays as it is; flat and split extents and the chain of a snapshot become one raw file. Every file is one that lies
 * beside `file`, and QEMU, which would open whatever a descriptor names, sees no descriptor.
 */
export async function takeVmdk(
  file: ApplianceFile,
  source: ApplianceSource,
  options: TakeVmdkOptions,
): Promise<ApplianceDiskFile> {
  const { size } = options;
  const single = await singleFile(file);
  if (single && !single.descriptor?.parent) {
    return { path: file.path!, format: 'vmdk', size: checkedSize(file, single.capacity, size) };
  }
  const chain = await chainOf({ file, descriptor: single?.descriptor ?? (await descriptorOf(file)) }, source);
  const top = chain[0]!;
  const flat =
    chain.length === 1 && top.descriptor.extents.length === 1 ? top.descriptor.extents[0]! : undefined;
  checkedSize(file, top.descriptor.size, size);
  if (flat?.kind === 'flat' && flat.offset === 0) {
    const extent = await extentFile(flat, top, source);
    if (extent.path !== undefined && extent.size === flat.size)
      return { path: extent.path, format: 'raw', size: flat.size };
  }
  return await assembled(chain, source, options);
}

async function assembled(
  chain: Layer[],
  source: ApplianceSource,
  { directory, signal }: TakeVmdkOptions,
): Promise<ApplianceDiskFile> {
  const size = chain[0]!.descriptor.size;
  await using image = await RawImage.create(directory, size, signal);
  for (const layer of chain.toReversed()) {
    let to = 0;
    for (const extent of layer.descriptor.extents) {
      if (extent.kind === 'zero') {
        await image.lay(layer.file, one({ to, length: extent.size, zero: true }));
      } else {
        const file = await extentFile(extent, layer, source);
        await image.lay(file, await runsOf(file, extent, to));
      }
      to += extent.size;
    }
    image.beginLayer();
  }
  return { path: image.path, format: 'raw', size };
}

async function runsOf(file: ApplianceFile, extent: VmdkExtent, to: number): Promise<AsyncIterable<Run>> {
  if (extent.kind === 'flat') {
    if (extent.offset + extent.size > file.size)
      throw refusal(
        file.name,
        `it is cut short: it should have ${extent.offset + extent.size} bytes and has ${file.size}`,
      );
    return one({ to, length: extent.size, from: extent.offset });
  }
  const header = await readSparseHeader(file);
  if (header === undefined) throw refusal(file.name, 'it is no sparse extent of a VMDK');
  if (header.capacity > extent.size) header.capacity = extent.size;
  return sparseRuns(file, header, to);
}

/** A file that is one run. */
async function* one(run: Run): AsyncGenerator<Run> {
  yield run;
}

/** The layer, then what it stands on. */
async function chainOf(top: Layer, source: ApplianceSource): Promise<Layer[]> {
  const chain = [top];
  for (let last = top; last.descriptor.parent; last = chain.at(-1)!) {
    const { hint, contentId } = last.descriptor.parent;
    const parent = hint && (await source.find(besides(last.file.name, hint)));
    if (!parent)
      throw refusal(
        last.file.name,
        `it holds the changes since "${hint}", which is not in its directory: consolidate its snapshots`,
      );
    const single = await singleFile(parent);
    const descriptor = single?.descriptor ?? (await descriptorOf(parent));
    if (descriptor.contentId.toLowerCase() !== contentId.toLowerCase())
      throw refusal(
        parent.name,
        'it was changed since the snapshot that stands on it was taken (its CID is another one)',
      );
    if (descriptor.size !== top.descriptor.size)
      throw refusal(parent.name, 'it is not as large as the snapshot that stands on it');
    chain.push({ file: parent, descriptor });
    if (chain.length > longestChain)
      throw refusal(top.file.name, `it stands on more than ${longestChain} files`);
  }
  return chain;
}

/** A hint may be the path on the old host: the file of that name here is meant, and its CID says whether it is that one. */
function besides(name: string, hint: string): string {
  const plain = hint.replaceAll('\\', '/');
  const relative = plain.startsWith('/') || /^[a-zA-Z]:/.test(plain) ? posix.basename(plain) : plain;
  return posix.join(posix.dirname(name), relative);
}

/** A VMDK in one file: what its header says, and its descriptor. */
async function singleFile(
  file: ApplianceFile,
): Promise<{ capacity: number; descriptor?: VmdkDescriptor } | undefined> {
  const header = await readSparseHeader(file);
  if (header === undefined) return undefined;
  if (!header.compressed) for await (const _ of sparseRuns(file, header, 0));
  if (!header.descriptor) {
    throw refusal(file.name, 'it is a part of a VMDK: give its descriptor, the small file beside it');
  }
  if (header.descriptor.length > descriptorLimit) throw refusal(file.name, 'its descriptor is too large');
  const text = await file.read(header.descriptor.at, header.descriptor.length);
  const end = text.indexOf(0);
  const descriptor = parseVmdkDescriptor(text.toString('utf8', 0, end < 0 ? text.length : end), file.name);
  // In a file of its own, its extent is itself, under whatever name it had.
  const itself = {
    kind: 'sparse' as const,
    size: header.capacity,
    file: posix.basename(file.name),
    offset: 0,
  };
  return {
    capacity: header.capacity,
    descriptor: { ...descriptor, extents: [itself], size: header.capacity },
  };
}

async function descriptorOf(file: ApplianceFile): Promise<VmdkDescriptor> {
  const content = await readAll(file, descriptorLimit);
  return parseVmdkDescriptor(content.toString('utf8'), file.name);
}

async function extentFile(extent: VmdkExtent, layer: Layer, source: ApplianceSource): Promise<ApplianceFile> {
  if (posix.basename(layer.file.name) === extent.file && extent.kind === 'sparse') return layer.file;
  const name = posix.join(posix.dirname(layer.file.name), extent.file!.replaceAll('\\', '/'));
  const outside = extent.file!.startsWith('/') ? extent.file! : name;
  const file = await source.find(outside);
  if (file === undefined)
    throw refusal(layer.file.name, `its extent "${extent.file}" is not in its directory`);
  return file;
}

function checkedSize(file: ApplianceFile, actual: number, said: number | undefined): number {
  if (actual > bounds.diskSize)
    throw refusal(file.name, `it has ${actual} bytes, more than ${bounds.diskSize}`);
  if (said !== undefined && actual < said)
    throw refusal(
      file.name,
      `it has ${actual} bytes, its machine's description says ${said}: it is another disk, or damaged`,
    );
  return actual;
}

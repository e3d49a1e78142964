import { posix } from 'node:path';
import { bounds, uuidOf, wholeNumber } from './bounds.ts';
import { parallelsRuns, readParallelsHeader } from './parallels-image.ts';
import type { TakeDisk } from './open-appliance.ts';
import { RawImage, type Run } from './raw-image.ts';
import { refusal } from './refuse.ts';
import { readAll, type ApplianceFile, type ApplianceSource } from './source.ts';
import { readXml, type Xml } from './xml.ts';

interface Storage {
  /** bytes */
  start: number;
  end: number;
  images: Map<string, { kind: 'plain' | 'expanding'; file: ApplianceFile }>;
}

/** The disk in a `.hdd` directory of Parallels: its DiskDescriptor.xml says which files, in which order, over which snapshots. */
export async function parallelsDisk(
  directoryName: string,
  source: ApplianceSource,
): Promise<{ take: TakeDisk; size: number }> {
  const name = posix.join(directoryName, 'DiskDescriptor.xml');
  const descriptor = await source.find(name);
  if (descriptor === undefined) throw refusal(directoryName, 'it has no DiskDescriptor.xml');
  const xml = readXml(await readAll(descriptor), name, 'Parallels_disk_image');
  const storages: Storage[] = [];
  for (const each of xml.child('StorageData')?.children('Storage') ?? [])
    storages.push(await storageOf(each, name, source));
  const chain = snapshotsOf(xml, name);
  let size = 0;
  for (const { start, end } of storages) {
    if (start !== size || end <= start || end > bounds.diskSize)
      throw refusal(name, 'its Storages do not follow one another');
    size = end;
  }
  if (size === 0) throw refusal(name, 'it has no Storage');
  const take: TakeDisk = async (directory, signal) => {
    const whole =
      storages.length === 1 && chain.length === 1 ? imageOf(storages[0]!, chain[0]!, name) : undefined;
    if (whole?.kind === 'plain' && whole.file.size === size && whole.file.path)
      return { path: whole.file.path, format: 'raw', size };
    if (whole?.kind === 'expanding' && whole.file.path) {
      const header = await readParallelsHeader(whole.file);
      if (header.size === size) return { path: whole.file.path, format: 'parallels', size };
    }
    await using image = await RawImage.create(directory, size, signal);
    for (const layer of chain.toReversed()) {
      for (const storage of storages) await layStorage(image, storage, imageOf(storage, layer, name));
      image.beginLayer();
    }
    return { path: image.path, format: 'raw', size };
  };
  return { take, size };
}

async function layStorage(
  image: RawImage,
  { start, end }: Storage,
  { kind, file }: ReturnType<typeof imageOf>,
) {
  if (kind === 'plain') {
    if (file.size < end - start)
      throw refusal(file.name, `it is cut short: it should have ${end - start} bytes and has ${file.size}`);
    return await image.lay(file, one({ to: start, from: 0, length: end - start }));
  }
  const header = await readParallelsHeader(file);
  await image.lay(file, parallelsRuns(file, { ...header, size: Math.min(header.size, end - start) }, start));
}

async function* one(run: Run): AsyncGenerator<Run> {
  yield run;
}

function imageOf(storage: Storage, id: string, where: string) {
  const image = storage.images.get(id);
  if (image === undefined) throw refusal(where, `a Storage has no Image of the snapshot ${id}`);
  return image;
}

async function storageOf(xml: Xml, where: string, source: ApplianceSource): Promise<Storage> {
  const sector = (name: string): number =>
    wholeNumber(xml.value(name) ?? '', { least: 0, most: bounds.diskSize / 512 }, where, name) * 512;
  const images: Storage['images'] = new Map();
  for (const image of xml.children('Image')) {
    const [id, type, name] = [uuidOf(image.value('GUID')), image.value('Type'), image.value('File')];
    if (!id || !name) throw refusal(where, 'an Image has no GUID or no File');
    const file = await source.find(posix.join(posix.dirname(where), name));
    if (name.startsWith('/') || file === undefined) throw refusal(where, `its file "${name}" is missing`);
    if (type !== 'Plain' && type !== 'Compressed') throw refusal(where, `an Image is of the type "${type}"`);
    images.set(id, { kind: type === 'Plain' ? 'plain' : 'expanding', file });
  }
  return { start: sector('Start'), end: sector('End'), images };
}

/** The one that the machine runs on, then what each stands on. */
function snapshotsOf(xml: Xml, where: string): string[] {
  const shots = xml.child('Snapshots')?.children('Shot') ?? [];
  const parents = new Map(
    shots.map((shot) => [uuidOf(shot.value('GUID')), uuidOf(shot.value('ParentGUID'))]),
  );
  // Without snapshots the descriptor names none, or this one; Parallels runs on the last that nobody stands on.
  const top =
    uuidOf(xml.value('Snapshots', 'TopGUID')) ??
    [...parents.keys()].find((id) => ![...parents.values()].includes(id)) ??
    uuidOf('{5fbaabe3-6958-40ff-92a7-860e329aab41}')!;
  const chain = [top];
  for (let next = parents.get(top); next !== undefined; next = parents.get(next)) {
    if (chain.length > 64 || chain.includes(next)) throw refusal(where, 'its snapshots go round in a circle');
    chain.push(next);
  }
  return chain;
}

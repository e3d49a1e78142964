import { messageOf } from '../../lib/errors.ts';
import { blockSize, metadataLimit, TarError, textOf, type TarEntry } from '../../lib/tar/entry.ts';
import { Extensions } from '../../lib/tar/extensions.ts';
import { parseHeader } from '../../lib/tar/header.ts';
import { bounds } from './bounds.ts';
import { refusal } from './refuse.ts';
import { insideName, type ApplianceFile, type ApplianceSource } from './source.ts';

/** An OVA: a tar whose members are read where they lie. Only its headers are read to find them. */
export class ApplianceArchive implements ApplianceSource {
  readonly #members: Map<string, ApplianceFile>;
  readonly #source: AsyncDisposable;

  /** `source`: what keeps `file` open. */
  static async open(file: ApplianceFile, source: AsyncDisposable): Promise<ApplianceArchive> {
    try {
      return new ApplianceArchive(await indexTar(file), source);
    } catch (error) {
      throw error instanceof TarError ? refusal(file.name, messageOf(error), error) : error;
    }
  }

  private constructor(members: Map<string, ApplianceFile>, source: AsyncDisposable) {
    this.#members = members;
    this.#source = source;
  }

  /** In the order of the archive. */
  get members(): ApplianceFile[] {
    return [...this.#members.values()];
  }

  find(name: string): Promise<ApplianceFile | undefined> {
    return Promise.resolve(this.#members.get(insideName(name)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }
}

async function indexTar(file: ApplianceFile): Promise<Map<string, ApplianceFile>> {
  const members = new Map<string, ApplianceFile>();
  const extensions = new Extensions();
  for (let at = 0; at < file.size; ) {
    const header = parseHeader(await block(file, at));
    if (header === undefined) break;
    const { flag, entry } = header;
    at += blockSize;
    const take = takers[flag];
    if (take) {
      if (entry.size > metadataLimit) throw new TarError(`an extended header has ${entry.size} bytes`);
      take(extensions, await exactly(file, at, entry.size));
      at += padded(entry.size);
      continue;
    }
    const stored = extensions.apply(entry);
    if (flag === 'S' || entry.sparse || extensions.sparsePrefix)
      throw new TarError(`its member ${textOf(entry.name)} is sparse`);
    if (entry.type === 'file') addMember(members, file, entry, at, stored);
    else if (entry.type !== 'directory')
      throw new TarError(`its member ${textOf(entry.name)} is a ${entry.type}, not a file`);
    at += entry.type === 'file' ? padded(stored) : 0;
  }
  return members;
}

const takers: Record<string, (extensions: Extensions, content: Buffer) => void> = {
  x: (extensions, content) => extensions.local(content),
  X: (extensions, content) => extensions.local(content),
  g: (extensions, content) => extensions.global(content),
  L: (extensions, content) => extensions.longName(content),
  K: (extensions, content) => extensions.longLink(content),
};

function addMember(
  members: Map<string, ApplianceFile>,
  archive: ApplianceFile,
  entry: TarEntry,
  offset: number,
  size: number,
): void {
  const name = insideName(textOf(entry.name));
  // Two readers could take two different ones: what was checked would not be what is used.
  if (members.has(name)) throw new TarError(`it has two members of the name ${name}`);
  if (members.size >= bounds.files) throw new TarError(`it has more than ${bounds.files} members`);
  if (offset + size > archive.size)
    throw new TarError(`it is cut short: ${name} should have ${size} bytes and has ${archive.size - offset}`);
  const read = (from: number, length: number): Promise<Buffer> =>
    archive.read(offset + from, Math.max(0, Math.min(length, size - from)));
  members.set(name, { name, size, read });
}

async function block(file: ApplianceFile, at: number): Promise<Buffer> {
  return await exactly(file, at, blockSize);
}

async function exactly(file: ApplianceFile, at: number, length: number): Promise<Buffer> {
  const content = await file.read(at, length);
  if (content.length < length) throw new TarError(`it is cut short at byte ${at + content.length}`);
  return content;
}

function padded(size: number): number {
  return Math.ceil(size / blockSize) * blockSize;
}

import { padding, storedSize, tarEnd, tarHeader } from '../../lib/tar/writer.ts';
import { textOf, TarError, type TarEntry } from '../../lib/tar/entry.ts';
import type { TarHandler } from '../../lib/tar/reader.ts';
import { InitFinder } from './init-finder.ts';
import { metadataBytes } from './metadata.ts';

/** Bytes of one template, and how many of them are kept. */
const templateBytes = 64 * 1024;
const mostTemplates = 200;

/**
 * Takes the root file system out of a system container's tar and gives it as a tar of its own, ready for the unpacker.
 * `unified`: the tar holds `metadata.yaml`, `rootfs/` and `templates/`; otherwise it is the root. What it is shows by its
 * first member, unless it is known to be a root. Paths are passed on as they are: the unpacker refuses those that lead out.
 */
export class RootSplitter implements TarHandler {
  readonly init = new InitFinder();
  readonly templates = new Map<string, Buffer>();
  metadata: Buffer | undefined;
  unified: boolean | undefined;
  members = 0;
  #out: Buffer[] = [];
  /** The entry for `./` came before anything told what this is. */
  #top: TarEntry | undefined;
  #entry: TarEntry | undefined;
  #kept: { parts: Buffer[]; done(content: Buffer): void } | undefined;

  constructor(isRoot: boolean) {
    if (isRoot) this.unified = false;
  }

  /** What has come since the last call. */
  take(): Buffer[] {
    const out = this.#out;
    this.#out = [];
    return out;
  }

  entry(entry: TarEntry): void {
    const name = withoutLead(entry.name);
    if (this.unified === undefined) {
      if (name === '') return void (this.#top = entry);
      this.unified = /^(metadata\.yaml$|(rootfs|templates)(\/|$))/.test(name);
      if (!this.unified && this.#top) this.#put(this.#top, './');
    }
    if (!this.unified) this.#put(entry, name || './');
    else if (name === 'rootfs' || name.startsWith('rootfs/')) this.#putBelow(entry, name);
    else if (entry.type === 'file') this.#keep(entry, name);
  }

  data(chunk: Buffer): void {
    if (this.#kept) this.#kept.parts.push(Buffer.from(chunk));
    else if (this.#entry) this.#out.push(Buffer.from(chunk));
  }

  endEntry(): void {
    this.#kept?.done(Buffer.concat(this.#kept.parts));
    if (this.#entry) this.#out.push(padding(storedSize(this.#entry)));
    this.#kept = this.#entry = undefined;
  }

  /** A further file of the root. */
  add(path: string, content: Buffer, seconds: number): void {
    const entry: TarEntry = {
      type: 'file',
      name: path,
      linkName: '',
      mode: 0o644,
      uid: 0,
      gid: 0,
      userName: '',
      groupName: '',
      size: content.length,
      mtime: { seconds, nanoseconds: 0 },
      devMajor: 0,
      devMinor: 0,
      xattrs: new Map(),
    };
    this.#out.push(tarHeader(entry), content, padding(content.length));
  }

  end(): void {
    if (this.members === 0) throw new TarError('it holds no root file system');
    this.#out.push(tarEnd());
  }

  #putBelow(entry: TarEntry, name: string): void {
    if (entry.type !== 'link') return this.#put(entry, name.slice('rootfs/'.length) || './');
    const target = withoutLead(entry.linkName);
    if (!target.startsWith('rootfs/'))
      throw new TarError(
        `a hard link of it leads out of its root (${JSON.stringify(textOf(target)).slice(0, 200)})`,
      );
    this.#put({ ...entry, linkName: target.slice('rootfs/'.length) }, name.slice('rootfs/'.length));
  }

  #put(entry: TarEntry, name: string): void {
    const put = { ...entry, name };
    this.members++;
    this.init.see(put);
    this.#entry = put;
    this.#out.push(tarHeader(put));
  }

  #keep(entry: TarEntry, name: string): void {
    const template = /^templates\/([^/]+)$/.exec(name)?.[1];
    if (name !== 'metadata.yaml' && template === undefined) return;
    const limit = template === undefined ? metadataBytes : templateBytes;
    if (entry.size > limit || entry.sparse || this.templates.size >= mostTemplates)
      throw new TarError(
        `its ${textOf(name)} has ${entry.size} bytes, more than the ${limit} it may have, or is one of too many`,
      );
    const done = (content: Buffer): void => {
      if (template === undefined) this.metadata = content;
      else this.templates.set(textOf(template), content);
    };
    this.#kept = { parts: [], done };
  }
}

function withoutLead(name: string): string {
  return name
    .replace(/^(\.?\/)+/, '')
    .replace(/^\.$/, '')
    .replace(/\/+$/, '');
}

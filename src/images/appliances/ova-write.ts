import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { link, open, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { failpoint } from '../../lib/failpoint.ts';
import { Rollback } from '../../lib/rollback.ts';
import { blockSize, bytesOf, emptyEntry } from '../../lib/tar/entry.ts';
import { formatHeader } from '../../lib/tar/header.ts';
import type { ApplianceDiskFile, ApplianceMachine } from '../appliances.ts';
import { explain } from './explain.ts';
import { ovfDescriptor, type OvfFile } from './ovf-write.ts';
import { pieces, readAt, type ApplianceFile } from './source.ts';
import { readSparseHeader } from './vmdk-sparse.ts';

export interface WriteOvaOptions {
  signal?: AbortSignal;
  onProgress?(done: number, total: number): void;
}

/** See {@link import('../appliances.ts').Appliances.write}. The descriptor is first, then the manifest, then the disks: DSP0243, 5.2. */
export async function writeOva(
  target: string,
  machine: ApplianceMachine,
  disks: ApplianceDiskFile[],
  options: WriteOvaOptions = {},
): Promise<void> {
  await using closing = new AsyncDisposableStack();
  const base = fileBase(machine.name);
  const files: (OvfFile & { file: ApplianceFile })[] = [];
  for (const [index, disk] of disks.entries()) {
    const handle = await open(disk.path, constants.O_RDONLY | constants.O_NOFOLLOW);
    closing.defer(() => handle.close());
    files.push(await diskOf(`${base}-disk${index + 1}.vmdk`, handle, disk));
  }
  await using undo = new Rollback();
  const part = join(dirname(target), `.${basename(target)}.${randomUUID().slice(0, 8)}.part`);
  undo.add('remove what was written', () => rm(part, { force: true }));
  try {
    await using output = await open(part, 'wx', 0o600);
    await writeMembers(output, base, ovfDescriptor(machine, files), files, options);
    await output.sync();
    failpoint('appliance.write.before');
    await link(part, target);
    failpoint('appliance.write.after');
  } catch (error) {
    throw explain(error, basename(target), target);
  }
  await syncDirectory(dirname(target));
}

async function diskOf(
  name: string,
  handle: FileHandle,
  disk: ApplianceDiskFile,
): Promise<OvfFile & { file: ApplianceFile }> {
  const { size } = await handle.stat();
  const file = { name, size, read: (offset: number, length: number) => readAt(handle, offset, length) };
  const capacity = disk.size ?? (await readSparseHeader(file))?.capacity;
  if (capacity === undefined) throw new TypeError(`${disk.path} is no VMDK, and its size is not given`);
  return { name, size, capacity, file };
}

async function writeMembers(
  output: FileHandle,
  base: string,
  descriptor: string,
  files: (OvfFile & { file: ApplianceFile })[],
  { signal, onProgress }: WriteOvaOptions,
): Promise<void> {
  // Each disk is read twice: its checksum stands before it.
  const total = files.reduce((sum, file) => sum + file.size, 0) * 2;
  let done = 0;
  const progress = (bytes: number): void => onProgress?.((done += bytes), total);
  const ovf = Buffer.from(descriptor);
  const manifest = [`SHA256(${base}.ovf)= ${createHash('sha256').update(ovf).digest('hex')}`];
  for (const { name, file } of files) {
    const hash = createHash('sha256');
    for await (const piece of pieces(file, signal)) {
      hash.update(piece);
      progress(piece.length);
    }
    manifest.push(`SHA256(${name})= ${hash.digest('hex')}`);
  }
  const tar = new OvaTar(output);
  await tar.member(`${base}.ovf`, ovf.length, [ovf]);
  const lines = Buffer.from(`${manifest.join('\n')}\n`);
  await tar.member(`${base}.mf`, lines.length, [lines]);
  for (const { name, size, file } of files)
    await tar.member(name, size, counted(pieces(file, signal), progress));
  await tar.end();
}

async function* counted(
  source: AsyncIterable<Buffer>,
  progress: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  for await (const piece of source) {
    yield piece;
    progress(piece.length);
  }
}

/** A plain ustar archive, as the standard wants it; sizes over 8 GiB as GNU writes them, which both hypervisors read. */
class OvaTar {
  readonly #output: FileHandle;
  #at = 0;

  constructor(output: FileHandle) {
    this.#output = output;
  }

  async member(name: string, size: number, content: AsyncIterable<Buffer> | Buffer[]): Promise<void> {
    const header = Buffer.alloc(blockSize);
    const seconds = Math.floor(Date.now() / 1000);
    const overflow = formatHeader(
      header,
      { ...emptyEntry, name: bytesOf(name), size, mtime: { seconds, nanoseconds: 0 } },
      size,
    );
    if (overflow.includes('size')) writeLargeSize(header, size);
    await this.#write(header);
    const start = this.#at;
    for await (const piece of content) await this.#write(piece);
    if (this.#at - start !== size) throw new Error(`${name} changed its size while it was written`);
    await this.#write(Buffer.alloc((blockSize - (size % blockSize)) % blockSize));
  }

  async end(): Promise<void> {
    await this.#write(Buffer.alloc(2 * blockSize));
  }

  async #write(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#output.write(bytes, done, bytes.length - done, this.#at + done);
      done += bytesWritten;
    }
    this.#at += bytes.length;
  }
}

/** Base 256, marked by the first bit. */
function writeLargeSize(header: Buffer, size: number): void {
  header.fill(0, 124, 136);
  header.writeBigUInt64BE(BigInt(size), 128);
  header[124] = 0x80;
  header.write('        ', 148, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

/** Plain in every file system and in a manifest. */
function fileBase(name: string): string {
  return (
    name
      .replace(/[^A-Za-z0-9._-]+/g, '-')
      .replace(/^[.-]+/, '')
      .slice(0, 60) || 'machine'
  );
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await directory.sync();
}

import { createHash, randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ApplianceDiskFile } from '../appliances.ts';
import { bounds } from './bounds.ts';
import { checkHead } from './disk-head.ts';
import { checkDigest, checkFile, expectedOf, type Manifest } from './manifest.ts';
import { explain } from './explain.ts';
import type { TakeDisk } from './open-appliance.ts';
import { refusal } from './refuse.ts';
import { newFile, pieces, readAt, type ApplianceFile, type ApplianceSource } from './source.ts';
import { takeVmdk } from './vmdk-take.ts';

export type DiskFileFormat = ApplianceDiskFile['format'];

export interface DiskFileOptions {
  format: DiskFileFormat;
  /** bytes that the guest sees */
  size?: number;
  gzip?: boolean;
  manifest?: Manifest;
}

/** The disk in `file`; where a format may lie in several files, the others are found in `source`. */
export function diskIn(file: ApplianceFile, source: ApplianceSource, options: DiskFileOptions): TakeDisk {
  return async (directory, signal) => {
    const { format, size } = options;
    const plain = options.gzip
      ? await gunzipped(file, directory, options, signal)
      : await laidOut(file, directory, options.manifest, signal);
    if (format === 'vmdk') return await takeVmdk(plain, source, { directory, size, signal });
    await checkHead(plain, format);
    return { path: plain.path!, format, size };
  };
}

/** A disk that the description has, but no file: it is empty. */
export function emptyDisk(size: number): TakeDisk {
  return async (directory) => {
    const path = join(directory, `empty-${randomUUID()}.raw`);
    await using file = await newFile(path);
    await file.truncate(size);
    return { path, format: 'raw', size };
  };
}

/** The file itself, or its copy when it lies in an archive; its checksum is that of what was read. */
async function laidOut(
  file: ApplianceFile,
  directory: string,
  manifest: Manifest | undefined,
  signal: AbortSignal | undefined,
): Promise<ApplianceFile> {
  if (file.path !== undefined) {
    await checkFile(manifest, file, signal);
    return file;
  }
  const expected = manifest && expectedOf(manifest, file.name);
  const hash = createHash(expected?.algorithm ?? 'sha256');
  const copy = await written(file, directory, async function* () {
    for await (const piece of pieces(file, signal)) {
      if (expected) hash.update(piece);
      yield piece;
    }
  });
  if (expected) checkDigest(file.name, expected, hash.digest('hex'));
  return copy;
}

async function gunzipped(
  file: ApplianceFile,
  directory: string,
  options: DiskFileOptions,
  signal: AbortSignal | undefined,
): Promise<ApplianceFile> {
  await checkFile(options.manifest, file, signal);
  // Tables and padding add little to what is in a disk; more than that is a bomb.
  const limit = (options.size ?? bounds.diskSize) * 1.1 + (64 << 20);
  return await written(file, directory, async function* () {
    const gunzip = createGunzip({ chunkSize: 1 << 20 });
    const feeding = pipeline(Readable.from(pieces(file, signal)), gunzip, { signal });
    feeding.catch(() => undefined);
    let total = 0;
    for await (const piece of gunzip as AsyncIterable<Buffer>) {
      total += piece.length;
      if (total > limit) throw refusal(file.name, `unpacked it has more than ${Math.round(limit)} bytes`);
      yield piece;
    }
    await feeding;
  });
}

async function written(
  file: ApplianceFile,
  directory: string,
  content: () => AsyncGenerator<Buffer>,
): Promise<ApplianceFile> {
  const path = join(directory, `disk-${randomUUID()}`);
  await using handle = await newFile(path);
  let size = 0;
  try {
    for await (const piece of content()) {
      await handle.write(piece, 0, piece.length, size);
      size += piece.length;
    }
  } catch (error) {
    throw explain(error, file.name, path);
  }
  return { name: file.name, size, path, read: (offset, length) => readCopy(path, offset, length) };
}

async function readCopy(path: string, offset: number, length: number): Promise<Buffer> {
  await using handle = await open(path);
  return await readAt(handle, offset, length);
}

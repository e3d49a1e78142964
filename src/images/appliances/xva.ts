import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { decompressed } from '../../lib/decompress.ts';
import { TarError, textOf, type TarEntry } from '../../lib/tar/entry.ts';
import { TarReader } from '../../lib/tar/reader.ts';
import { ThreadPool } from '../../lib/threads.ts';
import { workerFile } from '../../lib/worker-file.ts';
import { bounds } from './bounds.ts';
import { explain } from './explain.ts';
import type { ReadMachine, TakeDisk } from './open-appliance.ts';
import { refusal } from './refuse.ts';
import { pieces, type ApplianceFile, type ApplianceSource } from './source.ts';
import { readXvaModel } from './xva-model.ts';
import type { XvaJob } from './xva-worker.ts';

/** An export of XenServer, XCP-ng or Citrix Hypervisor, packed or not: `ova.xml`, then the disks in parts of 1 MiB. */
export async function readXva(
  file: ApplianceFile,
  _source: ApplianceSource,
  signal?: AbortSignal,
): Promise<ReadMachine> {
  const where = `${file.name}, ova.xml`;
  const model = readXvaModel(await firstMember(file, signal), where);
  return {
    machine: model.machine,
    warnings: model.warnings,
    disks: model.disks.map((disk) => {
      // Xen's own disks were there beside emulated ones: the system boots from IDE, and knows SATA.
      const entry = {
        name: disk.name,
        bus: 'sata' as const,
        cdrom: disk.cdrom,
        size: disk.size,
        ...(disk.boot && { boot: 1 }),
      };
      if (disk.reference === undefined) return { entry: { ...entry, bus: 'ide' as const } };
      return { entry, take: taker(file, disk.reference, disk.size!) };
    }),
  };
}

function taker(file: ApplianceFile, reference: string, size: number): TakeDisk {
  return async (directory, signal) => {
    const target = join(directory, `disk-${randomUUID()}.raw`);
    const pool = new ThreadPool({
      file: workerFile(import.meta.url, './xva-worker.ts'),
      threads: 1,
      limits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32 },
    });
    try {
      const job: XvaJob = { path: file.path!, reference, size, target };
      await pool.run(job, { signal });
    } catch (error) {
      throw explainTar(error, file.name, target);
    } finally {
      await pool.close();
    }
    return { path: target, format: 'raw', size };
  };
}

/** The description has to be the first, as XenServer writes it: nothing is looked for through a whole archive. */
async function firstMember(file: ApplianceFile, signal: AbortSignal | undefined): Promise<Buffer> {
  const parts: Buffer[] = [];
  let found = false;
  const reader = new TarReader({
    entry(entry: TarEntry) {
      if (found) return;
      if (textOf(entry.name) !== 'ova.xml' || entry.type !== 'file' || entry.sparse)
        throw new TarError(`its first member is "${textOf(entry.name)}", not ova.xml: it is no XVA`);
      if (entry.size > bounds.text) throw new TarError(`its ova.xml has ${entry.size} bytes`);
    },
    data(chunk) {
      if (!found) parts.push(Buffer.from(chunk));
    },
    endEntry() {
      found = true;
    },
  });
  try {
    for await (const piece of decompressed(pieces(file, signal, 1 << 16))) {
      reader.push(piece);
      if (found) return Buffer.concat(parts);
    }
    throw new TarError('it is cut short in its ova.xml');
  } catch (error) {
    throw explainTar(error, file.name, file.name);
  }
}

function explainTar(error: unknown, name: string, path: string): unknown {
  if (error instanceof Error && error.name === 'TarError') return refusal(name, messageOf(error), error);
  if (error instanceof Error && errnoOf(error)?.startsWith('Z'))
    return refusal(name, messageOf(error), error);
  return explain(error, name, path);
}

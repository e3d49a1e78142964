import { pipeline, Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { emptyEntry, type TarEntry } from '../../lib/tar/entry.ts';
import { TarReader } from '../../lib/tar/reader.ts';
import { padding, storedSize, tarEnd, tarHeader } from '../../lib/tar/writer.ts';

/** The parts of an inspected image that its metadata is made of. */
export interface ExportedImage {
  Id: string;
  Architecture: string;
  Created: string;
  Config: { Labels?: Record<string, string> | null };
}

/** A root's tar as a tar.gz with `metadata.yaml` and the root below `rootfs/`. */
export function unifiedTarball(root: Readable, image: ExportedImage): Readable {
  const packed = createGzip();
  // A failure on the way destroys what the caller reads.
  pipeline(Readable.from(unified(root, image), { objectMode: false }), packed, () => undefined);
  return packed;
}

async function* unified(root: AsyncIterable<Buffer>, image: ExportedImage): AsyncGenerator<Buffer> {
  let out: Buffer[] = [];
  let stored = 0;
  const put = (entry: TarEntry): void => {
    out.push(tarHeader(entry));
    stored = storedSize(entry);
  };
  const reader = new TarReader({
    entry: (entry) => put(belowRootfs(entry)),
    data: (chunk) => void out.push(Buffer.from(chunk)),
    endEntry: () => void out.push(padding(stored)),
  });
  const metadata = Buffer.from(metadataOf(image));
  put({ ...emptyEntry, name: 'metadata.yaml', size: metadata.length });
  out.push(metadata, padding(metadata.length));
  put({ ...emptyEntry, type: 'directory', name: 'rootfs/', mode: 0o755 });
  for await (const piece of root) {
    reader.push(piece);
    yield* out;
    out = [];
  }
  reader.end();
  yield* out;
  yield tarEnd();
}

function belowRootfs(entry: TarEntry): TarEntry {
  const below = (name: string): string => `rootfs/${name.replace(/^(\.?\/)+/, '')}`;
  return {
    ...entry,
    name: below(entry.name),
    linkName: entry.type === 'link' ? below(entry.linkName) : entry.linkName,
  };
}

/** JSON is YAML, and says no more than it was given. */
function metadataOf({ Architecture, Created, Config }: ExportedImage): string {
  const labels = Object.entries(Config.Labels ?? {}).filter(([key]) => key.startsWith('image.'));
  const properties = Object.fromEntries(labels.map(([key, value]) => [key.slice('image.'.length), value]));
  const architecture = { amd64: 'x86_64', arm64: 'aarch64' }[Architecture] ?? Architecture;
  const creation_date = Math.floor(Date.parse(Created) / 1000) || 0;
  return `${JSON.stringify({ architecture, creation_date, properties }, null, 2)}\n`;
}

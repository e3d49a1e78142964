import { parentPort, type MessagePort } from 'node:worker_threads';
import { cleanPath } from '../../host/tar/names.ts';
import { decompressed, detectCompression } from '../../lib/decompress.ts';
import { bytesOf, TarError } from '../../lib/tar/entry.ts';
import { TarReader } from '../../lib/tar/reader.ts';
import { ThreadReceiver, ThreadSender } from '../../lib/thread-streams.ts';
import { serveThread } from '../../lib/threads.ts';
import { type DistributionMetadata, metadataBytes, parseMetadata } from './metadata.ts';
import { RootSplitter } from './root-tar.ts';

export interface RootJob {
  /** The tar, packed or not. */
  input: MessagePort;
  /** Gets the root as a plain tar. */
  output: MessagePort;
  /** `metadata.yaml`, or a tar that holds it with `templates/`, when they come apart from the root. */
  metadata?: Uint8Array;
  /** It is known to be a root and nothing else. */
  isRoot: boolean;
}

/** What was learnt of a root while it passed by. */
export interface RootFacts {
  metadata?: DistributionMetadata;
  hasInit: boolean;
  stopSignal?: string;
  /** Files that a template was to be made into, and was not. */
  ignoredTemplates: string[];
}

if (parentPort) serveThread<RootJob>(parentPort, splitRoot);

/** Reads a system container's tar and sends its root on. Throws {@link TarError}. */
export async function splitRoot(
  job: RootJob,
  _onProgress: (value: unknown) => void,
  signal: AbortSignal,
): Promise<RootFacts> {
  const sender = new ThreadSender(job.output);
  try {
    const apart = job.metadata && (await readMetadata(Buffer.from(job.metadata)));
    const splitter = new RootSplitter(job.isRoot || apart !== undefined);
    const reader = new TarReader(splitter);
    for await (const piece of decompressed(new ThreadReceiver(job.input))) {
      signal.throwIfAborted();
      reader.push(piece);
      for (const chunk of splitter.take()) await sender.write(chunk);
    }
    reader.end();
    const metadata = apart?.metadata ?? (splitter.metadata && parseMetadata(splitter.metadata));
    if (splitter.unified && !metadata) throw new TarError('it has no metadata.yaml');
    const ignoredTemplates = addTemplates(splitter, metadata, apart?.templates ?? splitter.templates);
    splitter.end();
    for (const chunk of splitter.take()) await sender.write(chunk);
    sender.end();
    const { found: hasInit, stopSignal } = splitter.init;
    return { metadata, hasInit, stopSignal, ignoredTemplates };
  } catch (error) {
    sender.close();
    throw error;
  }
}

/** Bytes of a metadata tarball, unpacked: templates and nothing else. */
const mostMetadata = 32 << 20;

/** A file of metadata: YAML as it is, or a tar as `lxd.tar.xz` is one. */
async function readMetadata(
  content: Buffer,
): Promise<{ metadata: DistributionMetadata; templates: Map<string, Buffer> }> {
  const splitter = new RootSplitter(false);
  const reader = new TarReader(splitter);
  const isText =
    content.length <= metadataBytes && !content.includes(0) && detectCompression(content) === 'none';
  if (isText) return { metadata: parseMetadata(content), templates: new Map() };
  let bytes = 0;
  for await (const piece of decompressed(once(content))) {
    bytes += piece.length;
    if (bytes > mostMetadata) throw new TarError(`its metadata unpacks to more than ${mostMetadata} bytes`);
    reader.push(piece);
    splitter.take();
  }
  reader.end();
  if (!splitter.metadata) throw new TarError('its metadata holds no metadata.yaml');
  return { metadata: parseMetadata(splitter.metadata), templates: splitter.templates };
}

async function* once(content: Buffer): AsyncGenerator<Buffer> {
  yield content;
}

/** Isle writes these itself at every start. */
const ownFiles = ['/etc/hostname', '/etc/hosts'];

/**
 * Templates are written in pongo2. Those without anything to fill in are files like others; of the rest, Isle makes what every
 * container needs. Returns the paths of those that are not made.
 */
function addTemplates(
  splitter: RootSplitter,
  metadata: DistributionMetadata | undefined,
  templates: Map<string, Buffer>,
): string[] {
  const ignored: string[] = [];
  for (const { path, file, onCreate, createOnly } of metadata?.templates ?? []) {
    if (ownFiles.includes(path)) continue;
    const content = templates.get(file);
    const plain = content !== undefined && !/\{[{%#]/.test(content.toString('latin1'));
    if (!plain || !onCreate || createOnly || !path.startsWith('/')) ignored.push(path);
    else splitter.add(cleanPath(bytesOf(path)), content, secondsOf(metadata));
  }
  return ignored;
}

function secondsOf(metadata: DistributionMetadata | undefined): number {
  return Math.floor(Date.parse(metadata?.createdAt ?? '1970-01-01') / 1000);
}

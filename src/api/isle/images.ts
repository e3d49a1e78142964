import type { Engine } from '../../engine/engine.ts';
import type { RootSource } from '../../images/images.ts';
import { isleError } from '../../lib/errors.ts';
import { withProgress } from '../docker/progress-stream.ts';
import type { Call, Route } from '../http/call.ts';
import { json } from '../http/reply.ts';

/** Bytes of metadata that may come before a root. */
const mostMetadata = 4 << 20;

/** Images of system containers. A client that goes away ends the import. */
export function imageRoutes({ images }: Engine): Route[] {
  return [
    {
      method: 'POST',
      path: '/isle/v1/images/import',
      async handle(call) {
        const { query } = call;
        const source = await sourceOf(call);
        return withProgress(call, async (onProgress, signal) => {
          const image = await images.importRoot(source, {
            ref: query.optional('name'),
            platform: query.optional('platform'),
            onProgress,
            signal,
          });
          onProgress({ status: image.id, aux: { ID: image.id, Names: image.tags } });
        });
      },
    },
    {
      method: 'GET',
      path: '/isle/v1/images/search',
      async handle(call) {
        const found = await images.searchServer(serverOf(call), call.signal);
        return json(
          found.map(({ aliases, os, release, variant, architecture, version, size }) => ({
            Aliases: aliases,
            OS: os,
            Release: release,
            Variant: variant,
            Architecture: architecture,
            Version: version,
            Size: size,
          })),
        );
      },
    },
  ];
}

function serverOf({ query }: Call): string {
  const server = query.text('server');
  if (server === '') throw isleError('invalidParameter', { message: 'server: no image server named' });
  return server;
}

/** From a server when one is named, otherwise the body: `metadata` says how many bytes of it come before the root. */
async function sourceOf(call: Call): Promise<RootSource> {
  const { query } = call;
  if (query.has('server')) {
    const image = query.text('image');
    if (image === '') throw isleError('invalidParameter', { message: 'image: no image named' });
    return { server: serverOf(call), image };
  }
  const count = query.integer('metadata') ?? 0;
  if (count < 0 || count > mostMetadata)
    throw isleError('invalidParameter', { message: `metadata: must be a number from 0 to ${mostMetadata}` });
  if (count === 0) return { archive: call.body };
  return await split(call.body, count);
}

async function split(body: AsyncIterable<Buffer>, count: number): Promise<RootSource> {
  const pieces = body[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  while (head.length < count) {
    const next = await pieces.next();
    if (next.done)
      throw isleError('invalidParameter', {
        message: `the body ends after ${head.length} of ${count} bytes of metadata`,
      });
    head = Buffer.concat([head, next.value]);
  }
  async function* rest(): AsyncGenerator<Buffer> {
    if (head.length > count) yield head.subarray(count);
    for (let next = await pieces.next(); !next.done; next = await pieces.next()) yield next.value;
  }
  return { metadata: head.subarray(0, count), archive: rest() };
}

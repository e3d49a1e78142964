import type { Engine } from '../../engine/engine.ts';
import { isleError } from '../../lib/errors.ts';
import type { ApiVersion } from '../http/api-version.ts';
import type { Call } from '../http/call.ts';
import { json, type Reply } from '../http/reply.ts';
import { networkLookup } from './network-lookup.ts';
import { renderContainerSummary } from './render-container-summary.ts';
import { renderImageSummary } from './render-image.ts';
import { renderVolume } from './volumes.ts';

const types = ['container', 'image', 'volume', 'build-cache'];

/** `GET /system/df`; `type` limits it to what is asked for. */
export async function diskUsage(engine: Engine, call: Call): Promise<Reply> {
  const asked = call.query.all('type');
  const wrong = asked.find((type) => !types.includes(type));
  if (wrong !== undefined)
    throw isleError('invalidParameter', { message: `unknown object type: ${wrong} (${types.join(', ')})` });
  const wants = (type: string): boolean => asked.length === 0 || asked.includes(type);
  const [images, containers, volumes] = await Promise.all([
    wants('image') ? imageUsage(engine, call.version) : undefined,
    wants('container') ? containerUsage(engine, call.version) : undefined,
    wants('volume') ? volumeUsage(engine) : undefined,
  ]);
  return json({
    ...images,
    ...(containers && { Containers: containers }),
    ...(volumes && { Volumes: volumes }),
    ...(wants('build-cache') && { BuildCache: [] }),
    ...(call.version < 42 && { BuilderSize: 0 }),
  });
}

async function imageUsage(
  engine: Engine,
  version: ApiVersion,
): Promise<{ LayersSize: number; Images: object[] }> {
  const { total, perImage } = await engine.images.usage();
  const users = Map.groupBy(engine.containers.list(), (container) => container.imageId);
  const images = engine.images
    .list()
    .map((image) =>
      renderImageSummary(
        image,
        { shared: perImage.get(image.id)?.shared ?? 0, containers: users.get(image.id)?.length ?? 0 },
        version,
      ),
    );
  return { LayersSize: total, Images: images };
}

async function containerUsage(engine: Engine, version: ApiVersion): Promise<object[]> {
  const lookup = networkLookup(engine, version);
  return await Promise.all(
    engine.containers.list().map(async (container) => {
      const { rw, root, saved } = await engine.containers.size(container.id);
      // What its removal would free: its snapshots too.
      return renderContainerSummary(container, lookup, { rw: rw + saved, root: root + saved });
    }),
  );
}

async function volumeUsage(engine: Engine): Promise<object[]> {
  const { volumes } = engine;
  return await Promise.all(
    volumes.list().map(async (volume) => ({
      ...renderVolume(volume),
      UsageData: { Size: await volumes.usage(volume.name), RefCount: volumes.users(volume.name).length },
    })),
  );
}

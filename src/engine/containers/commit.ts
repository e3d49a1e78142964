import { applyChanges } from '../../images/archive/changes.ts';
import type { ImageConfig } from '../../images/images.ts';
import type { EngineContext } from '../context.ts';
import type { CommitOptions } from '../engine.ts';
import type { ContainerSpec } from '../model.ts';
import { refuseMachine } from '../machines/record.ts';
import { publishContainer } from './events.ts';
import { pauseContainer, unpauseContainer } from './pause.ts';
import type { ContainerRecord } from './record.ts';

/** A container's writable layer and settings as a new image. A running one is frozen meanwhile when asked for. */
export async function commitContainer(
  ctx: EngineContext,
  reference: string,
  options: CommitOptions,
): Promise<{ imageId: string }> {
  const record = ctx.records.find(reference);
  refuseMachine(
    record,
    'commit',
    'which has disks instead of an image: make a copy of it (isle vm clone) or a file for elsewhere (isle vm export)',
  );
  const freeze = options.pause && record.state.phase === 'running';
  if (freeze) await pauseContainer(ctx, record.id);
  try {
    const image = await ctx.images.commit({
      snapshotId: record.id,
      parentImageId: record.imageId,
      ref: options.ref,
      author: options.author,
      comment: options.comment,
      config: applyChanges(configOf(record, options.config), options.changes),
    });
    publishContainer(ctx, record, 'commit', {
      comment: options.comment,
      imageID: image.id,
      imageRef: options.ref ?? '',
    });
    return { imageId: image.id };
  } finally {
    if (freeze) await unpauseContainer(ctx, record.id);
  }
}

function configOf(record: ContainerRecord, override: Partial<ContainerSpec> = {}): ImageConfig {
  const spec = { ...record.spec, ...override };
  return {
    user: spec.user,
    env: spec.env,
    entrypoint: spec.entrypoint,
    command: spec.command,
    workingDir: spec.workingDir,
    labels: { ...record.labels, ...override.labels },
    exposedPorts: record.exposedPorts.map(({ port, protocol }) => `${port}/${protocol}`),
    volumes: record.mountSpecs.filter(({ origin }) => origin === 'image').map(({ target }) => target),
    stopSignal: spec.stopSignal,
    healthcheck: record.healthcheck,
  };
}

import { mkdir, rm } from 'node:fs/promises';
import { hostname as hostHostname } from 'node:os';
import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { newId, shortId } from '../../lib/ids.ts';
import { Rollback } from '../../lib/rollback.ts';
import type { Image } from '../../images/images.ts';
import type { EngineContext } from '../context.ts';
import { type ContainerSpec, type MountSpec, zeroTime } from '../model.ts';
import { makeImageRoots, removeImageRoots } from '../mounts/images.ts';
import { machineRuntime } from '../machines/record.ts';
import { mountPointOf, type ResolvedMounts, resolveMounts } from '../mounts/resolve.ts';
import { explainFull } from '../disk-full.ts';
import { inParallel } from '../parallel.ts';
import { now } from '../time.ts';
import { checkIsolation } from './check-isolation.ts';
import { checkSpec } from './check-spec.ts';
import { publishContainer } from './events.ts';
import { mergeImage } from './merge.ts';
import { stateDirOf } from './paths.ts';
import { networksOf, ownerOf } from './pod-network.ts';
import { takeIdMap } from './user-namespace.ts';
import type { ContainerRecord } from './record.ts';

/**
 * Makes a container's record, writable layer and volumes. All or nothing; of two creates of one name one wins and
 * the other gets `nameInUse`.
 */
export async function createContainer(
  ctx: EngineContext,
  name: string | undefined,
  asked: ContainerSpec,
): Promise<{ id: string; warnings: string[] }> {
  refuseMachineRuntime(ctx, runtimeNameOf(ctx, asked));
  const image = ctx.images.get(asked.image);
  checkPlatform(asked, image);
  const id = newId();
  const spec = resolveReferences(ctx, withDefaults(ctx, asked));
  const runtime = await ctx.runtimes.require(spec.runtime);
  const warnings = checkSpec(spec);
  checkIsolation(ctx, runtime.traits, spec);
  // Most containers are started as soon as they are there.
  runtime.anticipate?.();
  const hostname = hostnameOf(ctx, spec, id);
  const merged = mergeImage(spec, image.config, hostname, runtime.traits.bootsInit);
  const reserved = ctx.records.reserve(name, id);
  try {
    using taken = await takeIdMap(ctx, runtime, spec);
    const mounts = await resolveMounts(ctx, spec, image.config.volumes);
    const record: ContainerRecord = {
      id,
      name: reserved,
      createdAt: now(),
      podId: podOf(ctx, spec, id),
      imageId: image.id,
      imageManifest: image.manifest,
      runtimeName: spec.runtime,
      ...merged,
      mounts: mounts.specs.map((mount) => mountPointOf(ctx, mount)),
      mountSpecs: mounts.specs,
      anonymousVolumes: mounts.anonymous,
      idMap: taken?.map,
      chainId: ctx.images.chainId(image.id),
      state: freshState(),
      revision: 1,
    };
    await makeContainer(ctx, record, mounts);
    return { id, warnings };
  } catch (error) {
    ctx.records.release(reserved, id);
    throw explainFull(ctx, error, `creating container ${reserved}`);
  }
}

/** All that a new record needs on the disk, and the record itself. `makeRoot`: instead of an empty root over the image. */
export async function makeContainer(
  ctx: EngineContext,
  record: ContainerRecord,
  mounts: ResolvedMounts,
  makeRoot: () => Promise<void> = () =>
    ctx.snapshots.prepare(record.id, record.chainId, { volatile: record.spec.autoRemove }),
): Promise<void> {
  const { id } = record;
  await using undo = new Rollback();
  ctx.intents.add({ kind: 'create', id, volumes: mounts.anonymous });
  undo.add('intent', () => ctx.intents.done('create', id));
  failpoint('engine.create.begin');
  await inParallel<[void, void, void]>(
    makeSnapshot(ctx, record, makeRoot, undo),
    makeStateDir(ctx, id, undo),
    makeVolumes(ctx, record, mounts, undo),
  );
  await fillVolumes(ctx, record);
  failpoint('engine.create.made');
  ctx.store.transaction(() => {
    // Whoever removed one since it was looked for did not know of this user.
    for (const { type, source } of record.mountSpecs) if (type === 'volume') ctx.volumes.get(source);
    ctx.records.put(record);
    ctx.intents.done('create', id);
    publishContainer(ctx, record, 'create');
  });
  undo.keep();
}

async function makeSnapshot(
  ctx: EngineContext,
  record: ContainerRecord,
  makeRoot: () => Promise<void>,
  undo: Rollback,
): Promise<void> {
  undo.add('snapshot', () => ctx.snapshots.remove(record.id));
  undo.add('images', () => removeImageRoots(ctx, record));
  failpoint('engine.prepare.before');
  await makeRoot();
  await makeImageRoots(ctx, record);
  failpoint('engine.prepare.after');
}

async function makeStateDir(ctx: EngineContext, id: string, undo: Rollback): Promise<void> {
  const path = stateDirOf(ctx, id);
  undo.add('directory', () => rm(path, { recursive: true, force: true }));
  await mkdir(path, { recursive: true, mode: 0o700 });
}

async function makeVolumes(
  ctx: EngineContext,
  record: ContainerRecord,
  mounts: ResolvedMounts,
  undo: Rollback,
): Promise<void> {
  const anonymous = new Set(mounts.anonymous);
  const wanted = mounts.specs.filter(({ type }) => type === 'volume');
  if (wanted.length === 0) return;
  // Named ones stay when the create fails, as Docker leaves them: another container may have taken them up already.
  undo.add('volumes', () =>
    Promise.all(
      mounts.anonymous.filter((name) => ctx.volumes.has(name)).map((name) => ctx.volumes.remove(name, true)),
    ),
  );
  await ctx.volumes.ensureFor(
    wanted.map((mount) => ({
      name: mount.source,
      anonymous: anonymous.has(mount.source),
      request: requestOf(mount, record.spec),
    })),
  );
}

/** A machine has disks instead of an image. Before the image is looked for: clients would pull it. */
function refuseMachineRuntime({ runtimes }: EngineContext, name: string): void {
  if (name === machineRuntime || runtimes.get(name)?.traits.machine)
    throw isleError('invalidParameter', {
      message: `the runtime ${name} runs virtual machines, which boot from disks and not from an image: make one with "isle vm create", or "isle run --runtime unikernel --kernel FILE" (for an image with a kernel of its own, take --runtime microvm)`,
    });
}

function requestOf(mount: MountSpec, spec: ContainerSpec) {
  return {
    driver: mount.driver ?? spec.volumeDriver ?? '',
    options: mount.driverOptions ?? {},
    labels: mount.labels ?? {},
  };
}

/** An empty volume gets what the image has at its place, on create as Docker does, so that `--volumes-from` sees it. */
async function fillVolumes(ctx: EngineContext, record: ContainerRecord): Promise<void> {
  const wanted = record.mountSpecs.filter(
    (mount) => mount.type === 'volume' && !mount.noCopy && !mount.subpath,
  );
  if (wanted.length === 0) return;
  const rootfs = await ctx.snapshots.mount(record.id);
  for (const mount of wanted) {
    await ctx.queue.run(`volume:${mount.source}`, async () => {
      await ctx.volumeFiles.mount(mount.source, ctx.volumes.get(mount.source).options);
      await ctx.volumeFiles.fill(mount.source, rootfs, mount.target);
    });
  }
}

export function withDefaults(ctx: EngineContext, spec: ContainerSpec): ContainerSpec {
  const { defaults } = ctx;
  const runtime = runtimeNameOf(ctx, spec);
  const logConfig =
    spec.logConfig.driver === ''
      ? { driver: defaults.logDriver, options: { ...defaults.logOptions, ...spec.logConfig.options } }
      : spec.logConfig;
  return { ...spec, runtime, logConfig };
}

/** `oci`: whichever that is here. */
function runtimeNameOf({ runtimes }: EngineContext, { runtime }: Pick<ContainerSpec, 'runtime'>): string {
  return runtime === '' || runtime === 'oci' ? runtimes.default : runtime;
}

/** Names of other containers become full ids; networks are checked to be there. */
function resolveReferences(ctx: EngineContext, spec: ContainerSpec): ContainerSpec {
  const resolve = <T>(mode: T): T | { container: string } =>
    typeof mode === 'object' && mode !== null && 'container' in mode
      ? { container: ctx.records.find(String(mode.container)).id }
      : mode;
  const owner = ownerOf(spec);
  const networkMode = owner === undefined ? spec.networkMode : `container:${ctx.records.find(owner).id}`;
  const resolved = {
    ...spec,
    networkMode,
    ipcMode: resolve(spec.ipcMode),
    pidMode: resolve(spec.pidMode),
    utsMode: resolve(spec.utsMode),
    cgroupnsMode: resolve(spec.cgroupnsMode),
  };
  if (owner === undefined) for (const { network } of networksOf(resolved)) ctx.network.get(network);
  return resolved;
}

function hostnameOf(ctx: EngineContext, spec: ContainerSpec, id: string): string {
  if (spec.hostname !== '') return spec.hostname;
  const owner = ownerOf(spec);
  if (owner !== undefined) return ctx.records.find(owner).hostname;
  if (spec.networkMode === 'host' || spec.utsMode === 'host') return hostHostname();
  return shortId(id);
}

function podOf(ctx: EngineContext, spec: ContainerSpec, id: string): string {
  const owner = ownerOf(spec);
  return owner === undefined ? id : ctx.records.find(owner).podId;
}

function checkPlatform({ image: reference, platform }: ContainerSpec, image: Image): void {
  if (platform === undefined || platform === '') return;
  const [os, architecture, variant] = platform.split('/');
  const fits =
    (os === image.os || architecture === undefined) &&
    (architecture === undefined || architecture === image.architecture) &&
    (variant === undefined || image.variant === undefined || variant === image.variant);
  if (fits) return;
  const has = [image.os, image.architecture, image.variant].filter(Boolean).join('/');
  throw isleError('imagePlatform', { ref: reference, has, wanted: platform });
}

export function freshState(): ContainerRecord['state'] {
  return {
    phase: 'created',
    pid: 0,
    exitCode: 0,
    error: '',
    oomKilled: false,
    startedAt: zeroTime,
    finishedAt: zeroTime,
    stoppedByUser: false,
    restartCount: 0,
  };
}

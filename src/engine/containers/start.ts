import { isleError, isIsleError, messageOf, originalOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { Rollback } from '../../lib/rollback.ts';
import type { EngineContext } from '../context.ts';
import { type ContainerState, zeroTime } from '../model.ts';
import { explainFull } from '../disk-full.ts';
import { inParallel } from '../parallel.ts';
import { now } from '../time.ts';
import { connectPending, endPending } from './attach.ts';
import { publishContainer } from './events.ts';
import { watchExit } from './exit.ts';
import { writeIdentity, writeNetworkFiles } from './identity.ts';
import { prepareMachine } from '../machines/prepare.ts';
import { keepMacAddresses } from '../machines/mac-addresses.ts';
import { isMachine } from '../machines/record.ts';
import { dropSpent, spendSaved } from '../machines/saved.ts';
import { LiveContainer } from './live.ts';
import { attachPod, ownsPod, type PodNetwork, publishEndpoints } from './pod-network.ts';
import type { ContainerRecord } from './record.ts';
import { titleOf } from './records.ts';
import { removeNow } from './remove.ts';
import type { Starting } from './starts.ts';
import { type Surroundings, workloadOf } from './workload.ts';
import { startHelpers } from './helpers.ts';
import { unmountImages } from '../mounts/images.ts';
import { type PreparedMounts, prepareMounts } from '../mounts/prepare.ts';

/** Resolves to false when it ran already. A container with auto-remove that cannot start is removed. */
export async function startContainer(ctx: EngineContext, reference: string): Promise<boolean> {
  const { id } = ctx.records.find(reference);
  return await ctx.queue.run(id, async () => {
    const record = startable(ctx, id);
    if (record === undefined) return false;
    ctx.restarts.reset(id);
    await launch(ctx, record, { restartCount: 0, stoppedByUser: false });
    return true;
  });
}

/** The record when it can be started, undefined when it runs. */
function startable(ctx: EngineContext, id: string): ContainerRecord | undefined {
  const record = ctx.records.find(id);
  switch (record.state.phase) {
    case 'running':
      return undefined;
    case 'paused':
      throw isleError('conflict', { message: 'cannot start a paused container, try unpause instead' });
    case 'removing':
    case 'dead':
      throw isleError('conflict', {
        message: 'container is marked for removal and cannot be started',
      });
    default:
      return record;
  }
}

/**
 * Brings a container up; the caller holds its queue. On failure everything is undone, and the record says why and
 * with which exit code (127 not found, 126 not executable, else 128).
 */
export async function launch(
  ctx: EngineContext,
  record: ContainerRecord,
  state: Partial<ContainerState>,
): Promise<void> {
  using starting = ctx.starts.begin(record);
  try {
    await bringUp(ctx, record, state, starting);
  } catch (thrown) {
    const error = starting.given
      ? starting.gaveUp(thrown)
      : explainFull(ctx, thrown, `starting container ${record.name}`);
    await failed(ctx, record, error, starting.given);
    throw error;
  }
}

async function bringUp(
  ctx: EngineContext,
  given: ContainerRecord,
  state: Partial<ContainerState>,
  starting: Starting,
): Promise<void> {
  const record = isMachine(given) ? keepMacAddresses(ctx, given) : given;
  const { id } = record;
  const runtime = await ctx.runtimes.require(record.runtimeName);
  runtime.anticipate?.();
  await using undo = new Rollback();
  ctx.intents.add({ kind: 'start', id });
  failpoint('engine.start.begin');
  if (ctx.unreleased.has(id)) {
    await runtime.delete(id);
    ctx.unreleased.delete(id);
  }
  const [mounted, pod] = await inParallel<[Root | undefined, PodNetwork, void]>(
    isMachine(record) ? Promise.resolve(undefined) : rootOf(ctx, record, undo),
    connect(ctx, record, undo),
    writeIdentity(ctx, record),
  );
  const root = mounted ?? (await hardwareOf(ctx, record, pod));
  try {
    const workload = workloadOf(ctx, record, { ...root, netns: pod.netns });
    undo.add('runtime', () => runtime.delete(id));
    failpoint('engine.runtime-create.before');
    await runtime.create(workload);
    failpoint('engine.runtime-create.after');
    if (runtime.traits.machine && pod.netns !== undefined) await ctx.network.serveGuest(id);
  } finally {
    await root.close();
  }
  await connectPending(ctx, id);
  starting.check();
  if (isMachine(record)) spendSaved(ctx, record, undo);
  failpoint('engine.runtime-start.before');
  const { pid } = await runtime.start(id);
  failpoint('engine.runtime-start.after');
  starting.check();
  const live = new LiveContainer();
  ctx.live.set(id, live);
  undo.add('live', () => ctx.live.delete(id));
  const running = ctx.store.transaction(() => {
    ctx.intents.done('start', id);
    const after = ctx.records.changeState(id, {
      ...state,
      phase: 'running',
      pid,
      exitCode: 0,
      error: '',
      oomKilled: false,
      startedAt: now(),
      finishedAt: record.state.finishedAt,
      health: undefined,
    });
    if (ownsPod(after)) publishEndpoints(ctx, after, pod.attachment, 'connect');
    ctx.volumes.publishMounts(after, 'mount');
    publishContainer(ctx, after, 'start');
    return after;
  });
  undo.keep();
  if (isMachine(record)) dropSpent(ctx, record);
  startHelpers(ctx, running, live);
  watchExit(ctx, id, live);
}

/** What it runs on, found or mounted. `close` when the runtime has it. */
type Root = Pick<Surroundings, 'rootfs' | 'mounts' | 'machine'> & { close(): Promise<void> };

async function rootOf(ctx: EngineContext, record: ContainerRecord, undo: Rollback): Promise<Root> {
  const [rootfs, { mounts, close }] = await inParallel<[string, PreparedMounts]>(
    mountRoot(ctx, record, undo),
    mountVolumes(ctx, record, undo),
  );
  return { rootfs, mounts, close };
}

/** After the network: its seed says which cards there are. */
async function hardwareOf(ctx: EngineContext, record: ContainerRecord, pod: PodNetwork): Promise<Root> {
  const machine = isMachine(record) ? await prepareMachine(ctx, record, pod.attachment) : undefined;
  return { rootfs: '', mounts: [], machine, close: async () => {} };
}

async function mountRoot(
  ctx: EngineContext,
  { id, idMap }: ContainerRecord,
  undo: Rollback,
): Promise<string> {
  undo.add('root', () => ctx.snapshots.unmount(id));
  failpoint('engine.mount-root.before');
  const rootfs = await ctx.snapshots.mount(id, { idMap });
  failpoint('engine.mount-root.after');
  return rootfs;
}

async function mountVolumes(
  ctx: EngineContext,
  record: ContainerRecord,
  undo: Rollback,
): Promise<PreparedMounts> {
  undo.add('volumes', () => ctx.volumes.unmountFor(record));
  undo.add('images', () => unmountImages(ctx, record));
  return await prepareMounts(ctx, record);
}

async function connect(ctx: EngineContext, record: ContainerRecord, undo: Rollback): Promise<PodNetwork> {
  const pod = await attachPod(ctx, record, undo);
  await writeNetworkFiles(ctx, record, pod);
  return pod;
}

async function failed(
  ctx: EngineContext,
  record: ContainerRecord,
  thrown: unknown,
  givenUp: boolean,
): Promise<void> {
  const error = originalOf(thrown);
  const { id } = record;
  const after = ctx.store.transaction(() => {
    ctx.intents.done('start', id);
    return ctx.records.changeState(id, {
      phase: record.state.startedAt === zeroTime ? 'created' : 'exited',
      pid: 0,
      exitCode: givenUp ? killed : exitCodeOf(error),
      error: messageOf(error),
      ...(givenUp && { stoppedByUser: true }),
    });
  });
  endPending(ctx, id);
  ctx.log.warn({ container: id, err: error }, `container ${titleOf(record)} did not start`);
  if (after.spec.autoRemove) await removeNow(ctx, after, { volumes: true });
}

/** 128 + SIGKILL */
const killed = 137;

function exitCodeOf(error: unknown): number {
  if (isIsleError(error, 'commandNotFound')) return 127;
  if (isIsleError(error, 'commandNotExecutable')) return 126;
  return 128;
}

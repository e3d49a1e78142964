import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import { startInOrder, startsWithEngine } from '../containers/autostart.ts';
import { endContainer, release } from '../containers/exit.ts';
import { LiveContainer } from '../containers/live.ts';
import type { ContainerRecord } from '../containers/record.ts';
import { isRunning } from '../containers/records.ts';
import { removeNow, sweep } from '../containers/remove.ts';
import { startHelpers } from '../containers/helpers.ts';
import { watchExit } from '../containers/exit.ts';
import type { EngineContext } from '../context.ts';
import { zeroTime } from '../model.ts';
import { recoverBackup, recoverRemoval } from '../machines/backups/recover.ts';
import { isMachine } from '../machines/record.ts';
import { recoverMachines } from '../machines/recover.ts';
import { recoverPivots } from '../machines/clone/recover.ts';
import { recoverSaves } from '../machines/save.ts';
import { recoverSaved } from '../machines/saved.ts';
import { recoverSnapshots } from '../machines/snapshots/recover.ts';
import { imageRootsOf, unmountImages } from '../mounts/images.ts';
import type { Exit, Recovered, Runtime } from '../runtime.ts';
import { runningPods } from '../pods.ts';
import { letGo } from '../snapshots/hold.ts';
import { comeUpAgain } from '../snapshots/restore.ts';
import { now } from '../time.ts';

/**
 * Brings records and kernel together again after the daemon was away: what runs is watched, what ended is recorded
 * with its own code and time, what was half done is undone, what nobody knows is removed, and restart policies have
 * their say. A second run finds nothing to do.
 */
export async function recover(ctx: EngineContext): Promise<void> {
  await sweepDisk(ctx);
  const up = ctx.records.all().filter((record) => mayRun(ctx, record));
  const found = await Promise.all(up.map(async (record) => ({ record, state: await look(ctx, record) })));
  for (const { record, state } of found) {
    if (isMachine(record) && ctx.intents.has('start', record.id)) await recoverSaved(ctx, record, state);
    adoptRunning(ctx, ctx.records.get(record.id) ?? record, state);
  }
  await Promise.all([ctx.network.recover(runningPods(ctx)), unmountIdle(ctx)]);
  await Promise.all([undoIntents(ctx), ...found.map(({ record, state }) => settleEnded(ctx, record, state))]);
  const strangers = await idleWorkloads(ctx);
  for (const { kind, id } of ctx.intents.all()) if (kind === 'restore') comeUpAgain(ctx, id);
  await recoverSaves(ctx);
  await recoverPivots(ctx);
  recoverSnapshots(ctx);
  ctx.background.run('sweeping leftovers', () => sweepUnknown(ctx, strangers));
  comeBack(ctx, new Set(up.map(({ id }) => id)));
}

/** Containers that had a process, or were getting one, when the last daemon ended. */
function mayRun(ctx: EngineContext, { id, state }: ContainerRecord): boolean {
  return isRunning(state) || ctx.intents.has('start', id);
}

/** One whose isolation this host no longer has cannot be watched or stopped: it ends here, and says why. */
async function look(ctx: EngineContext, { id, runtimeName }: ContainerRecord): Promise<Recovered> {
  const why = ctx.runtimes.why(runtimeName);
  if (why === undefined) return await ctx.runtimes.of(runtimeName).recover(id);
  const reason = `its runtime ${runtimeName} is not available any more: ${why}`;
  return { state: 'exited', exit: { code: 255, oomKilled: false, finishedAt: now(), reason } };
}

function adoptRunning(ctx: EngineContext, record: ContainerRecord, state: Recovered): void {
  if (state.state !== 'running' && state.state !== 'paused') return;
  const { id } = record;
  const live = new LiveContainer();
  // A stop that was under way when the last daemon ended still means that it shall stay down.
  live.endRequested = record.state.stoppedByUser;
  ctx.live.set(id, live);
  const adopted =
    isRunning(record.state) && record.state.phase === state.state && record.state.pid === state.pid;
  const after = adopted ? record : recordRunning(ctx, record, state);
  startHelpers(ctx, after, live);
  watchExit(ctx, id, live);
}

/** It was paused, resumed or started in the moment the last daemon ended. */
function recordRunning(
  ctx: EngineContext,
  record: ContainerRecord,
  state: Extract<Recovered, { pid: number }>,
): ContainerRecord {
  return ctx.store.transaction(() => {
    ctx.intents.done('start', record.id);
    return ctx.records.changeState(record.id, {
      phase: state.state === 'paused' ? 'paused' : 'running',
      pid: state.pid,
      startedAt: isRunning(record.state) ? record.state.startedAt : (state.startedAt ?? now()),
      exitCode: 0,
      error: '',
    });
  });
}

/** What ended meanwhile ends now, with the code and time it had; what never got to run is undone. */
async function settleEnded(ctx: EngineContext, record: ContainerRecord, found: Recovered): Promise<void> {
  if (ctx.live.has(record.id)) return;
  const { id } = record;
  if (!isRunning(record.state)) {
    await release(ctx, record);
    ctx.intents.done('start', id);
    return;
  }
  const live = new LiveContainer();
  ctx.live.set(id, live);
  await ctx.queue.run(id, () => endContainer(ctx, id, live, exitOf(found)));
}

/** A host that went down took its containers with it: Docker's code for those is 255. */
function exitOf(found: Recovered): Exit {
  if (found.state === 'exited') return found.exit;
  return { code: 255, oomKilled: false, finishedAt: now() };
}

async function undoIntents(ctx: EngineContext): Promise<void> {
  await Promise.all(
    ctx.intents.all().map(async (intent) => {
      switch (intent.kind) {
        case 'create':
          await Promise.all(
            intent.volumes
              .filter((name) => ctx.volumes.has(name))
              .map((name) => ctx.volumes.remove(name, true)),
          );
          await sweep(ctx, { ...intent, volumes: [] });
          ctx.intents.done('create', intent.id);
          return;
        case 'sweep':
          await sweep(ctx, intent);
          return;
        case 'volume':
          if (!ctx.volumes.has(intent.id)) await ctx.volumeFiles.remove(intent.id);
          ctx.intents.done('volume', intent.id);
          return;
        case 'hold':
          return letGo(ctx, intent.id);
        case 'backup':
          return recoverBackup(ctx, intent);
        case 'backup-removal':
          return recoverRemoval(ctx, intent);
        case 'restore':
        case 'machine-snapshot':
        case 'machine-revert':
        case 'machine-save':
        case 'machine-pivot':
          return; // when it is known what still runs
        case 'start':
          return; // settled with its container
      }
    }),
  );
}

interface Stranger {
  id: string;
  runtime: Runtime;
}

/** What runs for nobody. Looked up before anything new is served, so that nothing new is among it. */
async function idleWorkloads(ctx: EngineContext): Promise<Stranger[]> {
  const found = await Promise.all(
    ctx.runtimes.all.map(async (runtime) =>
      (await runtime.leftovers()).filter((id) => !ctx.live.has(id)).map((id) => ({ id, runtime })),
    ),
  );
  // What belongs to a container that is down must be gone before that is started again.
  const known = new Set(found.flat().flatMap(({ id }) => ctx.records.get(id) ?? []));
  await Promise.all([...known].map((record) => ctx.caretakerOf(record).delete(record.id)));
  return found.flat().filter(({ id }) => !ctx.records.get(id));
}

/** Processes, mounts and directories that no record knows. */
async function sweepUnknown(ctx: EngineContext, strangers: Stranger[]): Promise<void> {
  for (const { id, runtime } of strangers) {
    ctx.log.warn({ container: id }, 'removing a workload that no record knows');
    await runtime.delete(id);
  }
  await adoptVolumes(ctx);
}

/** Before anything is mounted or started: root file systems, volumes and directories whose owner is gone. */
async function sweepDisk(ctx: EngineContext): Promise<void> {
  const known = new Set(ctx.records.all().flatMap((record) => [record.id, ...imageRootsOf(record)]));
  await Promise.all([
    ctx.snapshots.recover(known),
    ctx.volumeFiles.recover(),
    recoverMachines(ctx),
    sweepDirectories(ctx),
  ]);
  // After the snapshots: which layers are stood on is known only now.
  await ctx.images.recover();
}

/** A root that somebody looked into, or that was about to be given back, when the last daemon ended. */
async function unmountIdle(ctx: EngineContext): Promise<void> {
  const idle = ctx.records.all().filter((record) => !ctx.live.has(record.id) && !isMachine(record));
  await Promise.all([
    ...idle.flatMap((record) => [ctx.snapshots.unmount(record.id), unmountImages(ctx, record)]),
    ctx.volumes.unmountIdle(),
  ]);
}

async function sweepDirectories(ctx: EngineContext): Promise<void> {
  const root = join(ctx.dataRoot, 'containers');
  const unknown = (await directories(root)).filter((id) => !ctx.records.get(id));
  await Promise.all(unknown.map((id) => rm(join(root, id), { recursive: true, force: true })));
}

async function adoptVolumes(ctx: EngineContext): Promise<void> {
  for (const name of await ctx.volumeFiles.list()) {
    if (ctx.volumes.has(name) || ctx.intents.has('volume', name)) continue;
    ctx.log.warn({ volume: name }, 'a volume directory without a record: taken up again');
    ctx.volumes.adopt(name);
  }
}

async function directories(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Restart policies after a restart of the engine or the host. `settled`: those had their say just now. */
function comeBack(ctx: EngineContext, settled: ReadonlySet<string>): void {
  const waiting: ContainerRecord[] = [];
  for (const record of ctx.records.all()) {
    const { id, state, spec } = record;
    if (ctx.live.has(id) || state.phase === 'removing') continue;
    if (state.phase === 'restarting') waiting.push(record);
    else if (spec.autoRemove && state.startedAt !== zeroTime && !settled.has(id)) {
      ctx.background.run(`removing container ${id}`, () =>
        ctx.queue.run(id, () => removeNow(ctx, record, { volumes: true })),
      );
    } else if (
      !settled.has(id) &&
      state.startedAt !== zeroTime &&
      startsWithEngine(spec.labels, spec.restartPolicy, state)
    ) {
      waiting.push(ctx.records.changeState(id, { phase: 'restarting' }));
    }
  }
  if (waiting.length > 0) ctx.background.run('starting what comes back', () => startInOrder(ctx, waiting));
}

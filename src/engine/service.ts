import { usualIds } from '../lib/userns.ts';
import { isleError } from '../lib/errors.ts';
import { Background } from './background.ts';
import { ContainerRecords } from './containers/records.ts';
import { Restarts } from './containers/restarts.ts';
import { Roots } from './containers/root.ts';
import { ContainerService } from './containers/service.ts';
import { Starts } from './containers/starts.ts';
import { Waiters } from './containers/waiters.ts';
import type { EngineContext, EngineOptions } from './context.ts';
import type { Engine } from './engine.ts';
import { EventLog } from './event-log.ts';
import { ExecService } from './execs/service.ts';
import { defaultArea, IdMaps } from './id-maps.ts';
import { Intents } from './intents.ts';
import { MachineService } from './machines/service.ts';
import { NetworkService } from './networks/service.ts';
import { KeyedQueue } from './queue.ts';
import { recover } from './recovery/recover.ts';
import { SnapshotService } from './snapshots/service.ts';
import { SystemService } from './system.ts';
import { VolumeService } from './volumes/service.ts';
import { withImageEvents } from './image-events.ts';

/** Builds the engine over its parts and reconciles what it recorded with what the kernel has. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const closer = new AbortController();
  const closed = Promise.withResolvers<undefined>();
  const ctx = contextOf(options, closer.signal, closed.promise);
  await recover(ctx);
  for (const runtime of ctx.runtimes.all) runtime.keepReady?.(() => ctx.idMaps.take(usualIds));
  return {
    containers: new ContainerService(ctx),
    execs: ctx.execs,
    snapshots: new SnapshotService(ctx),
    machines: new MachineService(ctx),
    images: withImageEvents(ctx),
    networks: new NetworkService(ctx),
    volumes: ctx.volumes,
    events: ctx.events,
    system: new SystemService({ ...options, debug: options.debug, report: options.hostReport }),
    async close() {
      ctx.restarts.close();
      closer.abort(isleError('unavailable', { message: 'the engine is shutting down' }));
      closed.resolve(undefined);
      for (const live of ctx.live.values()) live.stopHelpers();
      await ctx.queue.idle();
      await ctx.background.idle();
    },
  };
}

function contextOf(options: EngineOptions, closing: AbortSignal, closed: Promise<undefined>): EngineContext {
  const { store, log, runtimes } = options;
  const base = {
    ...options,
    records: new ContainerRecords(store),
    queue: new KeyedQueue(),
    waiters: new Waiters(),
    events: new EventLog(store, log),
    intents: new Intents(store),
    background: new Background(log),
    live: new Map(),
    sizes: new Map(),
    attachments: new Map(),
    unreleased: new Set<string>(),
    pruning: new Set<string>(),
    closing,
    closed,
  };
  // The services know the context and are part of it.
  const ctx = base as unknown as EngineContext;
  ctx.runtimeOf = ({ runtimeName }) => runtimes.of(runtimeName);
  ctx.caretakerOf = ({ runtimeName }) => runtimes.caretaker(runtimeName);
  ctx.volumes = new VolumeService(ctx);
  ctx.execs = new ExecService(ctx);
  ctx.restarts = new Restarts(ctx);
  ctx.starts = new Starts(ctx);
  ctx.roots = new Roots(ctx);
  ctx.idMaps = new IdMaps({
    area: options.defaults.usernsIds ?? defaultArea,
    seed: options.dataRoot,
    used: () => ctx.records.all().flatMap(({ idMap }) => idMap ?? []),
  });
  return ctx;
}

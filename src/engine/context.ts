import type { Appliances } from '../images/appliances.ts';
import type { Images } from '../images/images.ts';
import type { Logger } from '../lib/log.ts';
import type { Store } from '../lib/table.ts';
import type { Network } from '../network/network.ts';
import type { ContainerFiles } from '../storage/archive.ts';
import type { Backups } from '../storage/backups/service.ts';
import type { Disks } from '../storage/disks.ts';
import type { Snapshots } from '../storage/snapshots.ts';
import type { VolumeFiles } from '../storage/volumes.ts';
import type { Background } from './background.ts';
import type { LiveContainer } from './containers/live.ts';
import type { PendingStreams } from './containers/pending-streams.ts';
import type { ContainerRecord } from './containers/record.ts';
import type { ContainerRecords } from './containers/records.ts';
import type { Restarts } from './containers/restarts.ts';
import type { Roots } from './containers/root.ts';
import type { Starts } from './containers/starts.ts';
import type { Waiters } from './containers/waiters.ts';
import type { EventLog } from './event-log.ts';
import type { ExecService } from './execs/service.ts';
import type { ReadLog } from './faces.ts';
import type { IdArea, IdMaps } from './id-maps.ts';
import type { Intents } from './intents.ts';
import type { KeyedQueue } from './queue.ts';
import type { Refit } from '../runtimes/machine/refit/refit.ts';
import type { Runtime, TerminalSize } from './runtime.ts';
import type { Runtimes } from './runtimes.ts';
import type { HostReport } from './system.ts';
import type { VolumeService } from './volumes/service.ts';

/** What the engine is built from; wired in `daemon/parts.ts`. */
export interface EngineOptions {
  store: Store;
  dataRoot: string;
  runRoot: string;
  instance: string;
  version: string;
  log: Logger;
  /** Implementations of isolation by the name a container may ask for (`crun`, `microvm`, …). */
  runtimes: Runtimes;
  images: Images;
  network: Network;
  snapshots: Snapshots;
  files: ContainerFiles;
  volumeFiles: VolumeFiles;
  disks: Disks;
  backups: Pick<Backups, 'open'>;
  appliances: Appliances;
  refit: Refit;
  readLog: ReadLog;
  defaults: ContainerDefaults;
  debug: boolean;
  hostReport(): Promise<HostReport>;
}

export interface ContainerDefaults {
  logDriver: string;
  logOptions: Record<string, string>;
  ulimits: { name: string; soft: number; hard: number }[];
  init: boolean;
  stopTimeout: number;
  /** Whether a container has a user namespace of its own when nobody says; absent: as its runtime usually does. */
  userns?: 'auto' | 'host';
  /** Where the ids of user namespaces come from; absent: {@link defaultArea}. */
  usernsIds?: IdArea;
}

/** What every operation of the engine works with. */
export interface EngineContext extends EngineOptions {
  records: ContainerRecords;
  queue: KeyedQueue;
  waiters: Waiters;
  events: EventLog;
  intents: Intents;
  background: Background;
  live: Map<string, LiveContainer>;
  volumes: VolumeService;
  execs: ExecService;
  restarts: Restarts;
  starts: Starts;
  roots: Roots;
  idMaps: IdMaps;
  /** Terminal sizes asked for before there is a terminal, by container. */
  sizes: Map<string, TerminalSize>;
  /** Clients that attached before the start, by container. */
  attachments: Map<string, Set<PendingStreams>>;
  /** Containers of whose last run something could not be removed: tried again before the next. */
  unreleased: Set<string>;
  /** Kinds of things that are being pruned. */
  pruning: Set<string>;
  /** Throws `unavailable` when this host does not have it (any more). */
  runtimeOf(record: Pick<ContainerRecord, 'runtimeName'>): Runtime;
  /** Who can take away what a container left on the host: its runtime or, when that is not available, the default one. */
  caretakerOf(record: Pick<ContainerRecord, 'runtimeName'>): Runtime;
  /** Aborted when the engine closes. */
  closing: AbortSignal;
  /** Resolves when the engine closes. */
  closed: Promise<undefined>;
}

import type { Readable } from 'node:stream';
import type { HostFacts } from '../host/facts.ts';
import type { Images } from '../images/images.ts';
import type { Attachment, NetworkRecord, NetworkSpec, InterfaceStats } from '../network/network.ts';
import type { SavedRoot } from '../storage/snapshots.ts';
import type { Events } from './events.ts';
import type { Machines } from './machines.ts';
import type { Container, ContainerSpec, EndpointSpec, Health, Resources, RestartPolicy } from './model.ts';
import type { Exit, ExecSession, RuntimeStats, Streams, TerminalSize } from './runtime.ts';

/**
 * The engine as every API sees it. An API parses its own JSON into these types, calls, and renders; it never
 * reaches below. Ids may be given as full id, name (with or without the leading slash) or unambiguous prefix.
 */
export interface Engine {
  readonly containers: Containers;
  readonly execs: Execs;
  readonly snapshots: ContainerSnapshots;
  readonly machines: Machines;
  readonly images: Images;
  readonly networks: Networks;
  readonly volumes: Volumes;
  readonly events: Events;
  readonly system: System;
  /** Stops serving: waits for running operations; workloads go on. */
  close(): Promise<void>;
}

export interface Containers {
  create(name: string | undefined, spec: ContainerSpec): Promise<{ id: string; warnings: string[] }>;
  /** Throws `noSuchContainer`, `ambiguousId`. */
  get(id: string): Container;
  /** Newest first. */
  list(): Container[];
  /** The network of its pod as it is now (with the real host ports); undefined when it has none or does not run. */
  attachment(id: string): Attachment | undefined;
  /** Resolves to false when it ran already (Docker's 304). */
  start(id: string): Promise<boolean>;
  /** `timeout` seconds, −1 for ever, undefined: the container's own. False when it did not run. */
  stop(id: string, options: { timeout?: number; signal?: string }): Promise<boolean>;
  restart(id: string, options: { timeout?: number; signal?: string }): Promise<void>;
  kill(id: string, signal: string | undefined): Promise<void>;
  pause(id: string): Promise<void>;
  unpause(id: string): Promise<void>;
  rename(id: string, name: string): Promise<void>;
  update(
    id: string,
    change: { resources: Resources; restartPolicy?: RestartPolicy },
  ): Promise<{ warnings: string[] }>;
  /** What is not said stays. Undefined: it does not start with the engine, unless its restart policy says so. */
  /** Whether it comes up with the engine (or the host), unless somebody stopped it. */
  startsWithEngine(id: string): boolean;
  setAutostart(id: string, autostart: Partial<Autostart> | undefined): Promise<void>;
  /** Stops all in the opposite order of their start with the engine, with which they come up again. */
  stopAll(): Promise<void>;
  remove(id: string, options: { force: boolean; volumes: boolean }): Promise<void>;
  /** Registered when this returns: await the promise inside for the outcome. */
  wait(
    id: string,
    condition: 'not-running' | 'next-exit' | 'removed',
    signal: AbortSignal,
  ): { exit: Promise<{ code: number; error?: string }> };
  prune(filters: Record<string, string[]>): Promise<{ removed: string[]; reclaimed: number }>;

  attach(id: string): Promise<Streams>;
  resize(id: string, size: TerminalSize): Promise<void>;
  /** Stored output, then (with `follow`) what comes until the container stops. Times are nanosecond strings since 1970. */
  logs(id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<LogEntry>;
  /** Rows of `ps` run against the container's processes. */
  top(id: string, psArgs: string): Promise<{ titles: string[]; processes: string[][] }>;
  /** Undefined when it does not run. */
  stats(id: string): Promise<ContainerStats | undefined>;
  changes(id: string): Promise<{ path: string; kind: 0 | 1 | 2 }[]>;
  /** Memory of everything it needs on the host. Throws `notRunning`. */
  footprint(id: string): Promise<Footprint>;
  /** Bytes of the writable layer, of the whole root, and of all snapshots. */
  size(id: string): Promise<{ rw: number; root: number; saved: number }>;

  /** `docker cp`: see PathStat; all paths are resolved inside the container's root by the kernel. */
  statPath(id: string, path: string): Promise<PathStat>;
  readArchive(id: string, path: string): Promise<{ stat: PathStat; tar: Readable }>;
  /** `tar` may be gzip or zstd. */
  writeArchive(
    id: string,
    path: string,
    tar: Readable,
    options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
  ): Promise<void>;
  export(id: string): Promise<Readable>;
  commit(id: string, options: CommitOptions): Promise<{ imageId: string }>;
}

/** Copies of what containers have written (not of their volumes and binds), and containers made from such copies. */
export interface ContainerSnapshots {
  /** `name` absent: the next free `snap0`, `snap1`, …. Throws `savedNameInUse`, `diskFull`. */
  take(container: string, options: { name?: string; comment: string }): Promise<TakenSnapshot>;
  /** Oldest first. */
  list(container: string): ContainerSnapshot[];
  /**
   * Throws `noSuchSaved`, and `conflict` for one that runs unless `restart`: then it is stopped (`timeout` as for stop) and
   * started again.
   */
  restore(container: string, name: string, options: { restart: boolean; timeout?: number }): Promise<void>;
  remove(container: string, name: string): Promise<void>;
  /** Throws `nameInUse`, and `conflict` when `ports` are wanted that the source has on the host. */
  clone(container: string, options: CloneOptions): Promise<{ id: string; warnings: string[] }>;
}

export type ContainerSnapshot = SavedRoot;

export interface TakenSnapshot extends ContainerSnapshot {
  /** Milliseconds for which the container was frozen; 0 when it did not run. */
  pausedMs: number;
}

export interface CloneOptions {
  name?: string;
  /** Absent: as it is now. */
  snapshot?: string;
  /** Whether the published ports are taken over. */
  ports: boolean;
}

/** A container that starts with the engine (or the host). */
export interface Autostart {
  /** Lower ones first; equal ones together. */
  order: number;
  /** Seconds to wait after it before the next order. */
  delay: number;
}

export interface LogOptions {
  stdout: boolean;
  stderr: boolean;
  since?: string;
  until?: string;
  /** Last N entries; undefined: all. */
  tail?: number;
  follow: boolean;
}

export interface LogEntry {
  stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds. */
  time: string;
  data: Buffer;
}

export interface ContainerStats {
  id: string;
  name: string;
  runtime: RuntimeStats;
  networks: Record<string, InterfaceStats>;
  /** Nanoseconds of CPU the whole host spent. */
  systemCpuUsage: number;
  onlineCpus: number;
}

/** What a running container takes of the host's memory. Sizes are bytes; shared pages count in proportion. */
export interface Footprint {
  id: string;
  /** Its own, and the monitors that keep it; not the daemon. */
  processes: {
    pid: number;
    command: string;
    uid: number;
    memory: number;
    swapped: number;
    monitor: boolean;
  }[];
  memory: number;
  swapped: number;
  /** The part of `memory` that is a guest's RAM, as far as it has been touched. */
  guestMemory: number;
  ownKernel: boolean;
  /** Files that were made once for all containers of this isolation, such as a guest's kernel. */
  prepared: { name: string; bytes: number }[];
}

export interface PathStat {
  name: string;
  size: number;
  /** Go's os.FileMode bits, as the header wants them. */
  mode: number;
  mtime: string;
  linkTarget: string;
}

export interface CommitOptions {
  ref?: string;
  author: string;
  comment: string;
  pause: boolean;
  changes: string[];
  config?: Partial<ContainerSpec>;
}

export interface Execs {
  create(containerId: string, options: ExecOptions): Promise<string>;
  get(execId: string): ExecRecord;
  start(
    execId: string,
    options: { detach: boolean; tty: boolean; size?: TerminalSize },
  ): Promise<ExecSession | undefined>;
  resize(execId: string, size: TerminalSize): Promise<void>;
}

export interface ExecOptions {
  args: string[];
  env: string[];
  cwd: string;
  user: string;
  tty: boolean;
  attachStdin: boolean;
  attachStdout: boolean;
  attachStderr: boolean;
  privileged: boolean;
  detachKeys?: string;
  size?: TerminalSize;
}

export interface ExecRecord extends ExecOptions {
  id: string;
  containerId: string;
  running: boolean;
  exitCode: number | null;
  pid: number;
}

export interface Networks {
  create(spec: NetworkSpec, checkDuplicate: boolean): Promise<{ id: string; warning: string }>;
  get(idOrName: string): NetworkRecord;
  list(): NetworkRecord[];
  remove(idOrName: string): Promise<void>;
  connect(network: string, container: string, endpoint: EndpointSpec): Promise<void>;
  disconnect(network: string, container: string, force: boolean): Promise<void>;
  prune(filters: Record<string, string[]>): Promise<string[]>;
}

export interface Volume {
  name: string;
  driver: string;
  mountpoint: string;
  createdAt: string;
  labels: Record<string, string>;
  options: Record<string, string>;
  anonymous: boolean;
}

export interface Volumes {
  create(options: {
    name?: string;
    driver: string;
    options: Record<string, string>;
    labels: Record<string, string>;
  }): Promise<Volume>;
  get(name: string): Volume;
  list(): Volume[];
  /** Throws `conflict` naming the containers that use it; force makes a missing one no error. */
  remove(name: string, force: boolean): Promise<void>;
  prune(filters: Record<string, string[]>): Promise<{ removed: string[]; reclaimed: number }>;
  /** Containers that use it. */
  users(name: string): string[];
  usage(name: string): Promise<number>;
}

export interface System {
  info(): Promise<SystemInfo>;
  /** What isolations share or not, seen from outside. */
  host(): Promise<HostFacts>;
  /** The static program that measures from within a container: see native/probe. */
  probe(): Promise<Buffer>;
}

export interface RuntimeInfo {
  path: string;
  version: string;
  status: Record<string, string>;
  why?: string;
}

export interface SystemInfo {
  id: string;
  name: string;
  version: string;
  kernelVersion: string;
  operatingSystem: string;
  osVersion: string;
  architecture: string;
  cpus: number;
  memory: number;
  dataRoot: string;
  cgroupVersion: '1' | '2';
  cgroupDriver: string;
  /** By name; `why`: it cannot be had on this host, for this reason. */
  runtimes: Record<string, RuntimeInfo>;
  defaultRuntime: string;
  securityOptions: string[];
  warnings: string[];
  debug: boolean;
  startedAt: string;
  limits: Record<
    'memory' | 'swap' | 'cpuCfsPeriod' | 'cpuCfsQuota' | 'cpuShares' | 'cpuset' | 'pids' | 'oomKillDisable',
    boolean
  >;
}

export type { Exit, Health, HostFacts };

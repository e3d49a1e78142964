import type { Readable, Writable } from 'node:stream';
import type { MachineControl, MachineHardware } from './machine.ts';
import type {
  ContainerSpec,
  DeviceSpec,
  LogConfig,
  NamespaceMode,
  Propagation,
  Resources,
  Ulimit,
} from './model.ts';

/**
 * The contract of an isolation level. The engine prepares a root file system and a network, hands over a
 * {@link Workload}, and from then on knows only this interface; nothing above it asks which isolation it has.
 *
 * Promises every implementation keeps (`test/conformance/runtime.ts` holds them):
 * - What runs belongs to no daemon process: it survives the daemon's death, keeps logging, and its exit code is
 *   kept on disk until `delete`.
 * - `create` either succeeds or leaves nothing behind (no process, mount, cgroup, file in the run root).
 * - `delete` is idempotent, works in every state, and kills what still runs.
 * - No method blocks the event loop.
 */
export interface Runtime {
  readonly name: string;
  readonly traits: RuntimeTraits;

  /**
   * A create, start or exec will follow within milliseconds: what it would have to wait for may begin now. A hint;
   * nothing happens when it does not follow.
   */
  anticipate?(): void;

  /**
   * Makes the workload's namespaces, cgroup and monitor; its process exists but has not started.
   * Throws `commandNotFound`, `commandNotExecutable`, `invalidParameter` (a limit, mount, device, user or
   * capability the host cannot honour, named in the message).
   */
  create(workload: Workload): Promise<void>;

  /** Lets the created process go. Returns its host pid. */
  start(id: string): Promise<{ pid: number }>;

  /** Sends `signal` (a number) to the first process. Throws `conflict` when it does not run. */
  signal(id: string, signal: number): Promise<void>;

  /** Resolves when the workload has ended and its output has been drained to the log. Any number may wait. */
  wait(id: string): Promise<Exit>;

  /**
   * How the workload wants to be asked to end, where neither image nor user says: its init's own signal, and the
   * seconds that may take. Absent or undefined: SIGTERM, and the engine's default.
   */
  ending?(id: string): Promise<Ending | undefined>;

  /** Runs another process inside. Throws `commandNotFound`, `commandNotExecutable`, `invalidParameter`. */
  exec(id: string, exec: ExecSpec): Promise<ExecSession>;

  /** Connects to the standard streams of the first process; works between create and start. */
  attach(id: string): Promise<Streams>;

  /** Columns and rows of the terminal; kept and applied later when it does not exist yet. */
  resize(id: string, size: TerminalSize): Promise<void>;

  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;

  /** Changes limits of what runs. All or nothing. */
  update(id: string, resources: Resources): Promise<void>;

  stats(id: string): Promise<RuntimeStats>;

  /** Host pids of every process that it needs: those inside, or the monitor's where the inside has a kernel of its own. */
  processes(id: string): Promise<number[]>;

  /** The processes inside as `ps -ef` shows them, where they are not the host's own. */
  processTable?(id: string): Promise<{ titles: string[]; processes: string[][] }>;

  /** Of a runtime for full virtual machines (`traits.machine`). */
  readonly machines?: MachineControl;

  /** Files on this host that were made once for all its workloads, such as a guest's kernel. */
  preparedFiles?(): Promise<{ name: string; bytes: number }[]>;

  /**
   * Keeps what takes long to start ready for workloads to come, from now until `close`. `ids` gives each a range of its
   * own. Called once, after recovery.
   */
  keepReady?(ids: () => Promise<TakenIds>): void;

  /**
   * The ids of something that is ready for such a container: its workload, created with them soon, is run by it.
   * Undefined when nothing is.
   */
  takeReady?(spec: ContainerSpec): TakenIds | undefined;

  /** Tells the log's writer to open its file again (after the engine rotated it away). */
  reopenLog(id: string): Promise<void>;

  /** Removes everything `create` made; kills what still runs. */
  delete(id: string): Promise<void>;

  /**
   * After a restart of the daemon: looks at what the kernel and the disk have for `id`, resumes watching it,
   * and says how it is. `wait` and the rest work afterwards as if nothing had happened.
   */
  recover(id: string): Promise<Recovered>;

  /** Ids that have anything on this host (process, run directory, cgroup): to find what no record knows. */
  leftovers(): Promise<string[]>;

  /** Gives back what this process holds of it; what runs goes on. */
  close?(): void | Promise<void>;
}

export type Recovered =
  | { state: 'created' | 'running' | 'paused'; pid: number; startedAt?: string }
  | { state: 'exited'; exit: Exit }
  | { state: 'gone' };

export interface Exit {
  /** 0–255; 128 + signal when killed by one. */
  code: number;
  oomKilled: boolean;
  /** ISO 8601 */
  finishedAt: string;
  /** What ended it when it did not end itself: a kernel that panicked, a monitor that was killed. For people. */
  reason?: string;
  /** Its own init asked for that: what runs a distribution can be switched off and restarted from inside. */
  power?: 'off' | 'reboot';
}

export interface Ending {
  /** A number. */
  signal: number;
  /** seconds */
  timeout: number;
}

/** What the engine must know of an isolation before it asks for something, instead of its name. */
export interface RuntimeTraits {
  /**
   * The workload has a kernel of its own: it can share no namespace with another workload or the host, gets no host
   * device, and its network namespace belongs to it alone. The engine refuses what asks for that.
   */
  ownKernel: boolean;
  /** Whether root inside is somebody else outside when nobody says: `--userns auto` and `host` override it. */
  idMap: boolean;
  /** Runs a distribution's init when nobody names a command. */
  bootsInit: boolean;
  /** Full virtual machines: `Workload.machine` says what to run, there is no root file system nor command. */
  machine?: boolean;
}

/** Ids 0…size−1 inside are `hostId`…`hostId`+size−1 outside, users and groups alike. */
export interface IdMap {
  hostId: number;
  size: number;
}

/** A map that nobody else gets, until it is disposed of; from then on a container's record must have it. */
export interface TakenIds extends Disposable {
  readonly map: IdMap;
}

export interface TerminalSize {
  columns: number;
  rows: number;
}

/** A process's standard streams. A terminal has all output on `stdout`. */
export interface Streams {
  /** Ending it half-closes: output still flows. Absent when the workload has no stdin. */
  stdin?: Writable;
  stdout: Readable;
  stderr: Readable;
  /** Disconnects without touching the process. */
  close(): void;
}

export interface ExecSpec {
  /** Unique; names the session's files. */
  id: string;
  args: string[];
  env: string[];
  cwd: string;
  /** `user[:group]`, names or numbers; '' is root. */
  user: string;
  tty: boolean;
  stdin: boolean;
  privileged: boolean;
  /** No client waits for it: it must outlive this daemon. Absent: it may end with it. */
  detached?: boolean;
  size?: TerminalSize;
}

export interface ExecSession {
  /** For people: of the host, or of the kernel inside. Nothing may be sent to it by that number. */
  pid: number;
  /** Attached before the process starts, so that no output is missed. */
  streams: Streams;
  exit: Promise<{ code: number }>;
  resize(size: TerminalSize): Promise<void>;
  /** SIGKILL. No error when it has ended. */
  kill(): Promise<void>;
}

export interface WorkloadMount {
  type: 'bind' | 'tmpfs';
  /** Host path for bind. A file or a directory. */
  source: string;
  target: string;
  readOnly: boolean;
  recursiveReadOnly?: boolean;
  nonRecursive?: boolean;
  propagation?: Propagation;
  /** `host`: in a user namespace the source's owners are host ids already and not to be translated. Of a bind. */
  owners?: 'host';
  /** tmpfs options such as `size=65536`, `mode=1777`, `noexec`. */
  options?: string[];
}

/** A workload with nothing left to look up: what the image and the user said, merged. */
export interface Workload {
  id: string;
  /** The mounted root file system on the host. */
  rootfs: string;
  /** Directory on the data root that outlives the run (the log lies in it). */
  stateDir: string;
  /** Absent: keep no log. */
  logPath?: string;
  log: LogConfig;

  args: string[];
  /**
   * The user named no command, and {@link RuntimeTraits.bootsInit} says that the runtime runs an init then: `args` is
   * what the image would run, which may be one, something else, or nothing.
   */
  bootInit?: boolean;
  env: string[];
  cwd: string;
  /** `user[:group]` as written; looked up in the root's /etc/passwd and /etc/group. '' is root. */
  user: string;
  groupAdd: string[];
  tty: boolean;
  stdin: boolean;
  /** Close the process's stdin when the first attached client goes. */
  stdinOnce: boolean;
  size?: TerminalSize;
  /** Run under a minimal init that reaps and forwards signals. */
  init: boolean;

  /** Set for runtimes with `traits.machine` alone: `rootfs`, `args`, `env`, `user` and `mounts` are empty then. */
  machine?: MachineHardware;

  /** A user namespace with this map; `rootfs` is mounted so that its owners are right inside. Absent: the host's. */
  idMap?: IdMap;

  hostname: string;
  domainname: string;
  mounts: WorkloadMount[];
  readonlyRootfs: boolean;
  shmSize: number;

  /** Path of a network namespace, or undefined for the host's. */
  netns?: string;
  /** `shareable`: private, but another workload may join it, and then shares /dev/shm too. */
  ipc: Namespace | 'shareable';
  pid: Namespace;
  uts: Namespace;
  cgroupns: Namespace;

  privileged: boolean;
  capAdd: string[];
  capDrop: string[];
  securityOpt: string[];
  maskedPaths?: string[];
  readonlyPaths?: string[];
  devices: DeviceSpec[];
  deviceCgroupRules: string[];
  sysctls: Record<string, string>;
  ulimits: Ulimit[];
  oomScoreAdj?: number;
  cgroupParent: string;
  resources: Resources;
  annotations: Record<string, string>;
}

/** A fresh namespace, the host's, or the one of another workload's process. */
export type Namespace = 'private' | 'host' | 'none' | { pid: number };

/** Kept here so that implementations need only this file. */
export type { NamespaceMode };

/** Raw counters, as Docker's stats need them. Times are nanoseconds, sizes bytes. */
export interface RuntimeStats {
  readAt: string;
  cpu: {
    total: number;
    user: number;
    system: number;
    throttled: { periods: number; throttledPeriods: number; throttledTime: number };
  };
  memory: { usage: number; max?: number; limit: number; failcnt?: number; stats: Record<string, number> };
  pids: { current: number; limit: number };
  blkio: { serviceBytes: BlkioEntry[]; serviced: BlkioEntry[] };
}

export interface BlkioEntry {
  major: number;
  minor: number;
  op: string;
  value: number;
}

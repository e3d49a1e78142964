import type { RuntimeStats } from '../../engine/runtime.ts';

/** How this host's control groups are mounted: one unified tree, one tree per controller, or both side by side. */
export type CgroupMode = 'v2' | 'v1' | 'hybrid';

/** The host's control groups. Paths are absolute in the tree: `/isle/<container id>`. */
export interface Cgroups {
  readonly mode: CgroupMode;
  /** Where the unified hierarchy is mounted, with controllers or (on a hybrid host) without. */
  readonly unified?: string;
  /** Names of the usable controllers, as the kernel gives them (`cpu`, `memory`, …). */
  readonly controllers: ReadonlySet<string>;
  cgroup(path: string): Cgroup;
  /** Names of the groups directly under `path`, in any hierarchy. None when there is no such group. */
  children(path: string): Promise<string[]>;
  /** Lets a move of a process that follows within milliseconds go without waiting; see move-ahead.ts. Never rejects. */
  prepareMove(): Promise<void>;
  /** What can be limited here. */
  support(): Promise<CgroupSupport>;
}

export interface Cgroup {
  readonly path: string;
  exists(): Promise<boolean>;
  /** Makes it (and its parents) in every hierarchy. No error when it is there. */
  create(): Promise<void>;
  /** Moves a process into it, in every hierarchy. */
  add(pid: number): Promise<void>;
  /** Undefined when the group is gone. */
  stats(): Promise<RuntimeStats | undefined>;
  /** Pids of every process in it and below. */
  processes(): Promise<number[]>;
  /** Stops all processes in it; resolves when every one stands still. Throws ETIMEDOUT after 10 s. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  frozen(): Promise<boolean>;
  /** SIGKILLs everything in it and below, frozen or not; resolves when nothing is left. Throws ETIMEDOUT after 10 s. */
  kill(): Promise<void>;
  /** Removes it and all below, waiting up to 5 s for processes that are just ending (EBUSY after that). Idempotent. */
  remove(): Promise<void>;
  /** Removes it unless something is in it, or below it. False when it stays. */
  removeEmpty(): Promise<boolean>;
  /** How many processes the kernel has killed for want of memory here. */
  oomKills(): Promise<number>;
  /**
   * Calls back when {@link oomKills} has grown. `onError` gets what ends the watch early (never: the group is gone).
   * `close()` is idempotent; close before removing the group.
   */
  watchOom(onOom: (kills: number) => void, onError: (error: unknown) => void): Promise<OomWatch>;
}

export interface OomWatch {
  close(): void;
}

/** Which of the engine's limits the host's kernel can set. */
export interface CgroupSupport {
  memory: boolean;
  memoryReservation: boolean;
  swap: boolean;
  swappiness: boolean;
  oomKillDisable: boolean;
  kernelMemoryTcp: boolean;
  cpuShares: boolean;
  cpuQuota: boolean;
  cpuRealtime: boolean;
  cpuset: boolean;
  pids: boolean;
  blkioWeight: boolean;
  blkioThrottle: boolean;
  hugetlb: boolean;
}

import { join } from 'node:path';
import type { Exit } from '../../engine/runtime.ts';
import { pidfdSignal } from '../../host/pidfd.ts';
import { isAlive } from '../../host/process.ts';
import type { Cgroup } from '../../host/cgroup/cgroup.ts';
import { AttachHub } from './attach.ts';
import type { NumberFile, NumberFiles } from './number-files.ts';
import { wasOomKilled } from './oom.ts';
import { endOf } from './power.ts';
import type { RunRecord } from './record.ts';

export interface ContainerOptions {
  id: string;
  bundle: string;
  record: RunRecord;
  pid: number;
  startTime: number;
  cgroup: Cgroup;
  exits: NumberFiles;
  /** Resolves when conmon has ended. */
  monitorEnded: Promise<void>;
}

/** Exit code of a process whose monitor was killed: nobody saw how it ended. As Docker's. */
const unknownExit = 255;

/** A container that this process watches: its first process, its exit, its streams. */
export class Container {
  readonly id: string;
  readonly bundle: string;
  readonly record: RunRecord;
  readonly pid: number;
  readonly startTime: number;
  readonly cgroup: Cgroup;
  readonly exit: Promise<Exit>;
  /** Resolves when its conmon has ended: a moment after the exit is told. */
  readonly monitorEnded: Promise<void>;
  readonly hub: AttachHub;
  #ended = false;
  #doomed = false;
  #freezing: Promise<void> | undefined;

  constructor(options: ContainerOptions) {
    this.id = options.id;
    this.bundle = options.bundle;
    this.record = options.record;
    this.pid = options.pid;
    this.startTime = options.startTime;
    this.cgroup = options.cgroup;
    this.monitorEnded = options.monitorEnded;
    this.hub = new AttachHub({
      path: join(this.bundle, 'attach'),
      stdin: this.record.stdin,
      closesStdin: this.record.stdin && this.record.stdinOnce && !this.record.tty,
    });
    this.exit = this.#watch(options.exits, options.monitorEnded);
    this.exit.catch(() => {});
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Whether it runs and is meant to: an exit is told a moment later, a removal takes its time. */
  get alive(): boolean {
    return !this.#ended && !this.#doomed && isAlive(this.pid, this.startTime);
  }

  /** Stops every process in it. */
  async freeze(): Promise<void> {
    this.#freezing = this.cgroup.freeze();
    await this.#freezing;
  }

  /** It is about to be killed. Resolves when nothing is freezing it: a frozen process does not die. */
  async doom(): Promise<void> {
    this.#doomed = true;
    await this.#freezing?.catch(() => {});
  }

  /** Signals the first process; false when it has ended. */
  signal(signal: number): boolean {
    return pidfdSignal(this.pid, this.startTime, signal);
  }

  async #watch(exits: NumberFiles, monitorEnded: Promise<void>): Promise<Exit> {
    const lost = new AbortController();
    monitorEnded.then(
      () => lost.abort(new Error('conmon has ended')),
      () => {}, // It cannot be watched (no descriptor was left): the exit file tells all the same.
    );
    const file = await exits.next(this.id, lost.signal).catch(() => this.#orphaned(exits));
    this.#ended = true;
    return {
      ...endOf(file.value & 0xff, this.record),
      oomKilled: await wasOomKilled(this.bundle, this.cgroup),
      finishedAt: file.writtenAt,
    };
  }

  /**
   * conmon is gone. Usually its file is there; when someone killed conmon, the process has lost its streams, its
   * log and whoever would see its exit: it is ended too.
   */
  async #orphaned(exits: NumberFiles): Promise<NumberFile> {
    const written = await exits.read(this.id);
    if (written) return written;
    this.signal(9);
    return { value: unknownExit, writtenAt: new Date().toISOString() };
  }
}

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isGone, writeControl } from './files.ts';

/**
 * Lets the next move of a process between control groups go without waiting.
 *
 * The first write to any `cgroup.procs` waits for an RCU grace period (5 to 10 ms: percpu_down_write of
 * cgroup_threadgroup_rwsem in kernel/cgroup/cgroup.c); for about one more such period after it, further writes take
 * microseconds. So this process is moved to where it already is when a container is about to start, and the OCI
 * runtime's write finds the wait done. Changes nothing else.
 */
export class MoveAhead {
  #directory: string;
  #controller: string;
  #under: Promise<void> | undefined;

  /** @param directory where the hierarchy is mounted; `controller` is one of it, '' for the unified one. */
  constructor(directory: string, controller: string) {
    this.#directory = directory;
    this.#controller = controller;
  }

  /** Resolves when the wait is over; never rejects, since nothing depends on it. */
  prepare(): Promise<void> {
    this.#under ??= this.#move().finally(() => {
      this.#under = undefined;
    });
    return this.#under;
  }

  async #move(): Promise<void> {
    try {
      const path = await this.#ownGroup();
      if (path !== undefined) await writeControl(join(this.#directory, path, 'cgroup.procs'), process.pid);
    } catch (error) {
      // EOPNOTSUPP, EBUSY: a v2 group that takes no processes itself. The start then waits, as it would have.
      if (!isGone(error) && !(error instanceof Error && 'code' in error)) throw error;
    }
  }

  /** Read anew each time: whoever manages this process may have moved it meanwhile. */
  async #ownGroup(): Promise<string | undefined> {
    const lines = (await readFile('/proc/self/cgroup', 'latin1')).split('\n');
    for (const line of lines) {
      const [, controllers = '', path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
      if (path !== undefined && controllers.split(',').includes(this.#controller)) return path;
    }
    return undefined;
  }
}

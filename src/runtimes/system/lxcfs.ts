import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { access, mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { bindInto, mountTable, unmount } from '../../host/mount.ts';
import { pidfdSignal, watchPid } from '../../host/pidfd.ts';
import { isAlive, startTimeOf } from '../../host/process.ts';
import { messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { Logger } from '../../lib/log.ts';
import type { OciMount } from '../oci/spec-types.ts';

export interface LxcfsOptions {
  /** Holds everything of it; below the run root. */
  directory: string;
  log: Logger;
  /** The host pid of a container's first process, to mend its view. */
  pidOf(id: string): Promise<number | undefined>;
  /** Name or path of the program. Default `lxcfs`. */
  program?: string;
}

/** What shows a container its own limits instead of the host's numbers (lxcfs(1)). */
const shown = [
  'proc/cpuinfo',
  'proc/diskstats',
  'proc/loadavg',
  'proc/meminfo',
  'proc/slabinfo',
  'proc/stat',
  'proc/swaps',
  'proc/uptime',
  'sys/devices/system/cpu/online',
];

/**
 * One lxcfs for all system containers of an instance: started for the first of them, ended a while after the last.
 * It outlives this process. When it dies it is started anew, and the containers that run are given the new one's files.
 * Without it (not installed, no FUSE here) containers see the host's numbers; that is said once.
 */
export class Lxcfs {
  #options: LxcfsOptions;
  #mountPoint: string;
  #users: string;
  #process: { pid: number; startTime: number } | undefined;
  #work: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;
  #complained = false;
  #closed = false;

  private constructor(options: LxcfsOptions) {
    this.#options = options;
    this.#mountPoint = join(options.directory, 'mount');
    this.#users = join(options.directory, 'users');
  }

  /** Takes up the one that an earlier daemon left, or starts it where it died meanwhile. */
  static async open(options: LxcfsOptions): Promise<Lxcfs> {
    const lxcfs = new Lxcfs(options);
    await mkdir(lxcfs.#users, { recursive: true, mode: 0o700 });
    await lxcfs.#sweep();
    const process = await findProcess(lxcfs.#mountPoint);
    if (process) lxcfs.#watch(process);
    const used = await lxcfs.#used();
    if (!used) await lxcfs.#inTurn(() => lxcfs.#stop());
    else if (!process) void lxcfs.#inTurn(() => lxcfs.#mend());
    return lxcfs;
  }

  /** What to mount in a container that is about to be made: nothing where there is no lxcfs. */
  async mounts(): Promise<OciMount[]> {
    return await this.#inTurn(async () => {
      if (!(await this.#start())) return [];
      await this.#restWhenIdle();
      const there = await Promise.all(shown.map((path) => exists(join(this.#mountPoint, path))));
      return shown
        .filter((_, i) => there[i])
        .map((path) => ({
          destination: `/${path}`,
          type: 'bind',
          source: join(this.#mountPoint, path),
          options: ['bind', 'nosuid', 'nodev'],
        }));
    });
  }

  /** Keeps it running for `id`, until {@link leave}. */
  async join(id: string): Promise<void> {
    await this.#inTurn(() => writeFile(join(this.#users, id), ''));
  }

  async leave(id: string): Promise<void> {
    await this.#inTurn(async () => {
      await rm(join(this.#users, id), { force: true });
      await this.#restWhenIdle();
    });
  }

  /** Ends it when nobody uses it. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#idle);
    await this.#inTurn(() => this.#stopIdle());
  }

  /** One thing at a time. Failures are the caller's, and do not stop the next. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#work.then(work);
    this.#work = turn.catch((error: unknown) => {
      this.#options.log.error({ err: error }, `lxcfs: ${messageOf(error)}`);
    });
    return turn;
  }

  /** Users that are gone: a crash came between. */
  async #sweep(): Promise<void> {
    for (const id of await readdir(this.#users))
      if ((await this.#options.pidOf(id)) === undefined) await rm(join(this.#users, id), { force: true });
  }

  async #used(): Promise<boolean> {
    return (await readdir(this.#users)).length > 0;
  }

  /** Whether it runs now. */
  async #start(): Promise<boolean> {
    if (this.#process && isAlive(this.#process.pid, this.#process.startTime)) return true;
    try {
      failpoint('system.lxcfs.before');
      this.#watch(await this.#launch());
      failpoint('system.lxcfs.after');
      return true;
    } catch (error) {
      if (!this.#complained)
        this.#options.log.warn(
          { err: error },
          `system containers see the host's memory, CPUs and load: ${messageOf(error)}`,
        );
      this.#complained = true;
      return false;
    }
  }

  async #launch(): Promise<{ pid: number; startTime: number }> {
    const { directory, program = 'lxcfs' } = this.#options;
    if (!(await exists('/dev/fuse'))) throw new Error('this host has no /dev/fuse');
    await this.#unmount();
    await mkdir(this.#mountPoint, { recursive: true });
    const log = openSync(join(directory, 'log'), 'w', 0o600);
    let child: ChildProcess;
    try {
      child = spawn(
        program,
        [
          ...['--foreground', '--enable-loadavg', '--enable-cfs', '--pidfile', join(directory, 'pid')],
          // A file that one container cuts off would be empty for all.
          ...['-o', 'ro', this.#mountPoint],
        ],
        { detached: true, stdio: ['ignore', log, log], cwd: '/' },
      );
    } finally {
      closeSync(log);
    }
    child.unref();
    const failed = new Promise<never>((_, reject) => {
      child.once('error', () => reject(new Error(`${program} is not installed (package lxcfs)`)));
      child.once('exit', (code, signal) => reject(new Error(`lxcfs ended with ${code ?? signal}`)));
    });
    failed.catch(() => {});
    await Promise.race([failed, this.#mounted()]);
    const pid = child.pid ?? 0;
    const startTime = startTimeOf(pid);
    if (startTime === undefined) throw new Error('lxcfs ended at once');
    return { pid, startTime };
  }

  /** No event tells that a FUSE file system is there. */
  async #mounted(): Promise<void> {
    const end = performance.now() + patience;
    while (!(await exists(join(this.#mountPoint, 'proc/meminfo')))) {
      if (performance.now() > end) throw new Error(`lxcfs was not there after ${patience / 1000} s`);
      await delay(5);
    }
  }

  #watch(process: { pid: number; startTime: number }): void {
    this.#process = process;
    watchPid(process.pid, process.startTime, { ref: false }).then(
      () => void this.#inTurn(() => this.#died(process)),
      () => {}, // It cannot be watched: the next container finds out.
    );
  }

  async #died(process: { pid: number }): Promise<void> {
    if (this.#process !== process) return;
    this.#process = undefined;
    if (this.#closed || !(await this.#used())) return;
    this.#options.log.warn({ pid: process.pid }, 'lxcfs has died: starting another one');
    await this.#mend();
  }

  /** Starts it, and gives every container that has the dead one's files the new ones. */
  async #mend(): Promise<void> {
    if (!(await this.#start())) return;
    for (const id of await readdir(this.#users)) {
      const pid = await this.#options.pidOf(id);
      if (pid === undefined) continue;
      for (const path of shown)
        await bindInto(pid, join(this.#mountPoint, path), `/${path}`).catch((error: unknown) =>
          this.#options.log.debug({ container: id, path, err: error }, 'cannot renew a file of lxcfs'),
        );
    }
  }

  async #restWhenIdle(): Promise<void> {
    clearTimeout(this.#idle);
    if (this.#closed || !this.#process || (await this.#used())) return;
    this.#idle = setTimeout(() => void this.#inTurn(() => this.#stopIdle()), linger).unref();
  }

  async #stopIdle(): Promise<void> {
    if (!(await this.#used())) await this.#stop();
  }

  async #stop(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    if (process && pidfdSignal(process.pid, process.startTime, 15)) {
      const late = delay(patience, 'late' as const, { ref: false });
      if ((await Promise.race([watchPid(process.pid, process.startTime), late])) === 'late')
        pidfdSignal(process.pid, process.startTime, 9);
    }
    await this.#unmount();
  }

  async #unmount(): Promise<void> {
    const mounted = (await mountTable()).filter(({ target }) => target === this.#mountPoint);
    for (const _ of mounted) await unmount(this.#mountPoint, { detach: true });
  }
}

/** Milliseconds. */
const patience = 5000;
/** Milliseconds that it stays without a container: one that reboots comes back at once, one that starts is on its way. */
const linger = 10_000;

/** The lxcfs that serves `mountPoint`, by its command line, which a process of a container may imitate. */
async function findProcess(mountPoint: string): Promise<{ pid: number; startTime: number } | undefined> {
  const own = await readlink('/proc/self/ns/pid');
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const words = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (words[0]?.endsWith('lxcfs') !== true || !words.includes(mountPoint)) continue;
    if ((await readlink(`/proc/${name}/ns/pid`).catch(() => '')) !== own) continue;
    const startTime = startTimeOf(Number(name));
    if (startTime !== undefined) return { pid: Number(name), startTime };
  }
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

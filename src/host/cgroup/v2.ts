import { type FSWatcher, watch } from 'node:fs';
import { access, mkdir, mkdtemp, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { RuntimeStats } from '../../engine/runtime.ts';
import { errnoOf } from '../../lib/errors.ts';
import { systemError } from '../system-error.ts';
import type { Cgroup, Cgroups, CgroupSupport, OomWatch } from './cgroup.ts';
import {
  hostMemory,
  isGone,
  parseIoStat,
  parseKeyed,
  parseNumber,
  readControl,
  writeControl,
} from './files.ts';
import { MoveAhead } from './move-ahead.ts';
import { childGroups, processesIn, removeEmptyGroup, removeGroup } from './tree.ts';

/** Control groups on the unified hierarchy mounted at `root`. */
export async function openV2(root = '/sys/fs/cgroup'): Promise<Cgroups> {
  const names = (await readControl(join(root, 'cgroup.controllers'))) ?? '';
  const controllers = new Set(names.trim().split(' ').filter(Boolean));
  const ahead = new MoveAhead(root, '');
  return {
    mode: 'v2',
    unified: root,
    prepareMove: () => ahead.prepare(),
    controllers,
    cgroup: (path) => new CgroupV2(root, path),
    children: (path) => childGroups(join(root, path)),
    support: () => supportOf(root, controllers),
  };
}

class CgroupV2 implements Cgroup {
  readonly path: string;
  readonly #root: string;
  readonly #directory: string;

  constructor(root: string, path: string) {
    this.path = path;
    this.#root = root;
    this.#directory = join(root, path);
  }

  async exists(): Promise<boolean> {
    return (await this.#read('cgroup.procs')) !== undefined;
  }

  /** Controllers have to be handed down from each parent. */
  async create(): Promise<void> {
    let directory = this.#root;
    for (const name of this.path.split('/').filter(Boolean)) {
      const available = (await readControl(join(directory, 'cgroup.controllers'))) ?? '';
      const wanted = available.trim().split(' ').filter(Boolean);
      if (wanted.length > 0) await handDown(directory, wanted);
      directory = join(directory, name);
      await mkdir(directory, { recursive: true });
    }
  }

  async add(pid: number): Promise<void> {
    await this.#write('cgroup.procs', pid);
  }

  async stats(): Promise<RuntimeStats | undefined> {
    const names = ['cpu.stat', 'memory.current', 'memory.peak', 'memory.max', 'memory.stat', 'memory.events'];
    const more = ['pids.current', 'pids.max', 'io.stat', 'cgroup.procs'];
    const [cpuText, usage, peak, max, memoryText, events, pids, pidsMax, io, procs] = await Promise.all(
      [...names, ...more].map((name) => this.#read(name)),
    );
    if (procs === undefined && cpuText === undefined) return undefined;
    const cpu = parseKeyed(cpuText);
    const total = await hostMemory();
    return {
      readAt: new Date().toISOString(),
      cpu: {
        total: micro(cpu['usage_usec']),
        user: micro(cpu['user_usec']),
        system: micro(cpu['system_usec']),
        throttled: {
          periods: cpu['nr_periods'] ?? 0,
          throttledPeriods: cpu['nr_throttled'] ?? 0,
          throttledTime: micro(cpu['throttled_usec']),
        },
      },
      memory: {
        usage: parseNumber(usage) ?? 0,
        max: parseNumber(peak),
        limit: Math.min(parseNumber(max) ?? total, total),
        failcnt: parseKeyed(events)['oom'] ?? 0,
        stats: parseKeyed(memoryText),
      },
      pids: { current: parseNumber(pids) ?? 0, limit: finite(parseNumber(pidsMax)) },
      blkio: {
        serviceBytes: parseIoStat(io, { rbytes: 'read', wbytes: 'write' }),
        serviced: parseIoStat(io, { rios: 'read', wios: 'write' }),
      },
    };
  }

  processes(): Promise<number[]> {
    return processesIn(this.#directory);
  }

  async freeze(): Promise<void> {
    await this.#write('cgroup.freeze', 1);
    await this.#event('frozen', 1);
  }

  async thaw(): Promise<void> {
    await this.#write('cgroup.freeze', 0);
    await this.#event('frozen', 0);
  }

  async frozen(): Promise<boolean> {
    return parseKeyed(await this.#read('cgroup.events'))['frozen'] === 1;
  }

  /** cgroup.kill is there from Linux 5.14 on, and kills frozen processes too. */
  async kill(): Promise<void> {
    try {
      await this.#write('cgroup.kill', 1);
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
    await this.#event('populated', 0);
  }

  remove(): Promise<void> {
    return removeGroup(this.#directory);
  }

  removeEmpty(): Promise<boolean> {
    return removeEmptyGroup(this.#directory);
  }

  async oomKills(): Promise<number> {
    return parseKeyed(await this.#read('memory.events'))['oom_kill'] ?? 0;
  }

  async watchOom(onOom: (kills: number) => void, onError: (error: unknown) => void): Promise<OomWatch> {
    let seen = await this.oomKills();
    const check = async () => {
      const kills = await this.oomKills();
      if (kills <= seen) return;
      seen = kills;
      onOom(kills);
    };
    // The kernel sends a modify event when a counter grows. No memory controller: no kills to tell.
    if ((await this.#read('memory.events')) === undefined) return { close() {} };
    const watcher = watch(join(this.#directory, 'memory.events'), () => void check().catch(onError));
    watcher.on('error', onError).unref();
    await check();
    return watcher;
  }

  /** Resolves when `key` in cgroup.events is `value`, or the group is gone. */
  async #event(key: string, value: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const check = () =>
      this.#read('cgroup.events').then((text) => {
        if (text === undefined || parseKeyed(text)[key] === value) resolve();
      }, reject);
    let watcher: FSWatcher | undefined;
    const timer = setTimeout(
      () => reject(systemError('ETIMEDOUT', `waiting for ${key} of ${this.path}`)),
      10_000,
    );
    try {
      watcher = watch(join(this.#directory, 'cgroup.events'), () => void check());
      watcher.on('error', () => void check());
      await check();
      await promise;
    } catch (error) {
      if (!isGone(error)) throw error;
    } finally {
      clearTimeout(timer);
      watcher?.close();
    }
  }

  #read(name: string): Promise<string | undefined> {
    return readControl(join(this.#directory, name));
  }

  #write(name: string, value: string | number): Promise<void> {
    return writeControl(join(this.#directory, name), value);
  }
}

/** EBUSY: a group with processes of its own hands nothing down, and those below it go without controllers. */
async function handDown(directory: string, controllers: readonly string[]): Promise<void> {
  try {
    await writeControl(
      join(directory, 'cgroup.subtree_control'),
      controllers.map((name) => `+${name}`).join(' '),
    );
  } catch (error) {
    if (errnoOf(error) !== 'EBUSY') throw error;
  }
}

function micro(value: number | undefined): number {
  return (value ?? 0) * 1000;
}

/** Docker writes "no limit" as 0. */
function finite(value: number | undefined): number {
  return value !== undefined && Number.isFinite(value) ? value : 0;
}

async function supportOf(root: string, controllers: ReadonlySet<string>): Promise<CgroupSupport> {
  const memory = controllers.has('memory');
  const cpu = controllers.has('cpu');
  const files = await filesOfChild(root);
  // The kernel may lack swap accounting; only a group with the memory controller shows it.
  const swap = memory && (!files.has('memory.max') || files.has('memory.swap.max'));
  return {
    memory,
    memoryReservation: memory,
    swap,
    swappiness: false,
    oomKillDisable: false,
    kernelMemoryTcp: false,
    cpuShares: cpu,
    cpuQuota: cpu,
    cpuRealtime: false,
    cpuset: controllers.has('cpuset'),
    pids: controllers.has('pids'),
    blkioWeight:
      controllers.has('io') && (files.has('io.weight') || files.has('io.bfq.weight') || !files.has('io.max')),
    blkioThrottle: controllers.has('io'),
    hugetlb: controllers.has('hugetlb'),
  };
}

/** Control files that a group below the root has: many are missing in the root itself. */
async function filesOfChild(root: string): Promise<Set<string>> {
  try {
    const probe = await mkdtemp(join(root, 'isle-probe-'));
    try {
      return new Set(await readdir(probe));
    } finally {
      await rmdir(probe);
    }
  } catch {
    // A read-only tree: nothing can be made there, and what is supported is decided by the controllers alone.
    await access(root);
    return new Set();
  }
}

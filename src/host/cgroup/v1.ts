import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { RuntimeStats } from '../../engine/runtime.ts';
import { errnoOf } from '../../lib/errors.ts';
import { nativeCalls } from '../native.ts';
import { pidfdSignal } from '../pidfd.ts';
import { createPoll, READABLE } from '../poll.ts';
import { startTimeOf } from '../process.ts';
import type { Cgroup, CgroupMode, Cgroups, CgroupSupport, OomWatch } from './cgroup.ts';
import {
  hostMemory,
  isGone,
  parseBlkioV1,
  parseKeyed,
  parseNumber,
  readControl,
  writeControl,
} from './files.ts';
import { MoveAhead } from './move-ahead.ts';
import { childGroups, processesIn, removeEmptyGroup, removeGroup, until } from './tree.ts';

/** Where the hierarchies are mounted. Several controllers may share a directory. */
export interface V1Layout {
  /** By controller. */
  controllers: ReadonlyMap<string, string>;
  /** Hierarchies without a controller: `name=systemd`, and the unified one of a hybrid host. */
  named: readonly string[];
  /** The cgroup2 mount of a hybrid host. */
  unified?: string;
}

/** Control groups of cgroup v1, also when a cgroup2 without controllers stands beside it. */
export function openV1(layout: V1Layout): Cgroups {
  const mode: CgroupMode = layout.unified === undefined ? 'v1' : 'hybrid';
  const [controller = '', directory = ''] = [...layout.controllers][0] ?? [];
  const ahead = new MoveAhead(directory, controller);
  return {
    mode,
    unified: layout.unified,
    prepareMove: () => ahead.prepare(),
    controllers: new Set(layout.controllers.keys()),
    cgroup: (path) => new CgroupV1(layout, path),
    async children(path) {
      const found = await Promise.all(hierarchies(layout).map((root) => childGroups(join(root, path))));
      return [...new Set(found.flat())];
    },
    support: () => supportOf(layout),
  };
}

class CgroupV1 implements Cgroup {
  readonly path: string;
  readonly #layout: V1Layout;

  constructor(layout: V1Layout, path: string) {
    this.path = path;
    this.#layout = layout;
  }

  async exists(): Promise<boolean> {
    const found = await Promise.all(this.#directories().map((dir) => readControl(join(dir, 'cgroup.procs'))));
    return found.some((text) => text !== undefined);
  }

  async create(): Promise<void> {
    for (const root of hierarchies(this.#layout)) {
      let directory = root;
      for (const name of this.path.split('/').filter(Boolean)) {
        const parent = directory;
        directory = join(directory, name);
        await mkdir(directory, { recursive: true });
        // A new cpuset group has neither CPUs nor memory, and takes no process until it has.
        for (const file of ['cpuset.cpus', 'cpuset.mems']) await inherit(parent, directory, file);
      }
    }
  }

  async add(pid: number): Promise<void> {
    await Promise.all(
      this.#directories().map((directory) => writeControl(join(directory, 'cgroup.procs'), pid)),
    );
  }

  async stats(): Promise<RuntimeStats | undefined> {
    const [cpu, memory, pids, blkio, total] = await Promise.all([
      this.#cpu(),
      this.#memory(),
      this.#pids(),
      this.#blkio(),
      hostMemory(),
    ]);
    if (cpu === undefined && memory === undefined && pids === undefined) return undefined;
    return {
      readAt: new Date().toISOString(),
      cpu: cpu ?? {
        total: 0,
        user: 0,
        system: 0,
        throttled: { periods: 0, throttledPeriods: 0, throttledTime: 0 },
      },
      memory: memory
        ? { ...memory, limit: Math.min(memory.limit, total) }
        : { usage: 0, limit: total, stats: {} },
      pids: pids ?? { current: 0, limit: 0 },
      blkio,
    };
  }

  processes(): Promise<number[]> {
    return processesIn(this.#main());
  }

  async freeze(): Promise<void> {
    await until('freeze', async () => {
      await this.#setFreezer('FROZEN');
      return this.frozen();
    });
  }

  async thaw(): Promise<void> {
    await this.#setFreezer('THAWED');
  }

  async frozen(): Promise<boolean> {
    return (await this.#read('freezer', 'freezer.state'))?.trim() === 'FROZEN';
  }

  async kill(): Promise<void> {
    const { unified } = this.#layout;
    if (unified !== undefined && (await this.#killUnified(join(unified, this.path)))) return;
    await until('kill', async () => {
      if ((await this.#everywhere()).size === 0) return true;
      // Frozen, nothing can fork away between the list and the signals; the signals act on thawing.
      await this.#tryFreeze();
      for (const pid of await this.#everywhere()) killMember(pid, this.path);
      await this.thaw().catch(ignoreGone);
      return false;
    });
  }

  async remove(): Promise<void> {
    await Promise.all(this.#directories().map((directory) => removeGroup(directory)));
  }

  async removeEmpty(): Promise<boolean> {
    const removed = await Promise.all(this.#directories().map(removeEmptyGroup));
    return removed.every(Boolean);
  }

  async oomKills(): Promise<number> {
    return parseKeyed(await this.#read('memory', 'memory.oom_control'))['oom_kill'] ?? 0;
  }

  /** memory.oom_control tells through an eventfd registered in cgroup.event_control. */
  async watchOom(onOom: (kills: number) => void, onError: (error: unknown) => void): Promise<OomWatch> {
    const memory = this.#directory('memory');
    if (memory === undefined) return { close() {} };
    let seen = await this.oomKills();
    const control = await open(join(memory, 'memory.oom_control'), 'r');
    const eventfd = calls.eventfdSync();
    let closed = false;
    const close = () => {
      if (closed) return;
      closed = true;
      poll.close();
      calls.closeFdSync(eventfd);
    };
    // The event comes when memory runs out, a little before the victim is killed and counted.
    const check = async () => {
      await until('oom', async () => closed || (await this.oomKills()) > seen, 1000).catch(ignoreTimeout);
      const kills = closed ? seen : await this.oomKills();
      if (kills <= seen) return;
      seen = kills;
      onOom(kills);
    };
    const poll = createPoll(eventfd, () => {
      calls.drainEventfdSync(eventfd);
      check().catch(onError);
    });
    poll.unref();
    try {
      await writeFile(join(memory, 'cgroup.event_control'), `${eventfd} ${control.fd}`, { flag: 'r+' });
      poll.start(READABLE);
    } catch (error) {
      close();
      throw error;
    } finally {
      await control.close();
    }
    return { close };
  }

  async #cpu(): Promise<RuntimeStats['cpu'] | undefined> {
    const [usage, user, system, ticks, quota] = await Promise.all([
      this.#read('cpuacct', 'cpuacct.usage'),
      this.#read('cpuacct', 'cpuacct.usage_user'),
      this.#read('cpuacct', 'cpuacct.usage_sys'),
      this.#read('cpuacct', 'cpuacct.stat'),
      this.#read('cpu', 'cpu.stat'),
    ]);
    const total = parseNumber(usage);
    if (total === undefined) return undefined;
    const stat = parseKeyed(ticks);
    const throttled = parseKeyed(quota);
    return {
      total,
      user: parseNumber(user) ?? (stat['user'] ?? 0) * NANOSECONDS_PER_TICK,
      system: parseNumber(system) ?? (stat['system'] ?? 0) * NANOSECONDS_PER_TICK,
      throttled: {
        periods: throttled['nr_periods'] ?? 0,
        throttledPeriods: throttled['nr_throttled'] ?? 0,
        throttledTime: throttled['throttled_time'] ?? 0,
      },
    };
  }

  async #memory(): Promise<RuntimeStats['memory'] | undefined> {
    const [usage, max, limit, failcnt, stat] = await Promise.all(
      ['usage_in_bytes', 'max_usage_in_bytes', 'limit_in_bytes', 'failcnt', 'stat'].map((name) =>
        this.#read('memory', `memory.${name}`),
      ),
    );
    const used = parseNumber(usage);
    if (used === undefined) return undefined;
    return {
      usage: used,
      max: parseNumber(max),
      limit: parseNumber(limit) ?? Number.POSITIVE_INFINITY,
      failcnt: parseNumber(failcnt),
      stats: parseKeyed(stat),
    };
  }

  async #pids(): Promise<RuntimeStats['pids'] | undefined> {
    const [current, max] = await Promise.all([
      this.#read('pids', 'pids.current'),
      this.#read('pids', 'pids.max'),
    ]);
    const count = parseNumber(current);
    if (count === undefined) return undefined;
    const limit = parseNumber(max);
    return { current: count, limit: limit !== undefined && Number.isFinite(limit) ? limit : 0 };
  }

  async #blkio(): Promise<RuntimeStats['blkio']> {
    const [bytes, count] = await Promise.all([
      this.#read('blkio', 'blkio.throttle.io_service_bytes_recursive'),
      this.#read('blkio', 'blkio.throttle.io_serviced_recursive'),
    ]);
    return { serviceBytes: parseBlkioV1(bytes), serviced: parseBlkioV1(count) };
  }

  async #setFreezer(state: 'FROZEN' | 'THAWED'): Promise<void> {
    const directory = this.#directory('freezer');
    if (directory !== undefined) await writeControl(join(directory, 'freezer.state'), state);
  }

  async #tryFreeze(): Promise<void> {
    const abandon = 1000;
    try {
      await this.#setFreezer('FROZEN');
      await until('freeze', () => this.frozen(), abandon);
    } catch (error) {
      if (!isGone(error)) ignoreTimeout(error);
    }
  }

  /** A hybrid host's unified tree has cgroup.kill too (Linux 5.14). False when it has not, or not our processes. */
  async #killUnified(directory: string): Promise<boolean> {
    try {
      await writeControl(join(directory, 'cgroup.kill'), 1);
    } catch (error) {
      if (isGone(error)) return false;
      throw error;
    }
    await this.thaw().catch(ignoreGone);
    await until('kill', async () => (await processesIn(directory)).length === 0);
    return (await this.#everywhere()).size === 0;
  }

  /** A process may be in the group in some hierarchies only: it was moved, or forked while being moved. */
  async #everywhere(): Promise<Set<number>> {
    const found = await Promise.all(this.#directories().map((directory) => processesIn(directory)));
    return new Set(found.flat());
  }

  #directories(): string[] {
    return hierarchies(this.#layout).map((root) => join(root, this.path));
  }

  /** The hierarchy that is asked which processes belong to the group. */
  #main(): string {
    const { controllers } = this.#layout;
    const root = controllers.get('pids') ?? controllers.get('freezer') ?? hierarchies(this.#layout)[0] ?? '';
    return join(root, this.path);
  }

  #directory(controller: string): string | undefined {
    const root = this.#layout.controllers.get(controller);
    return root === undefined ? undefined : join(root, this.path);
  }

  async #read(controller: string, name: string): Promise<string | undefined> {
    const directory = this.#directory(controller);
    return directory === undefined ? undefined : readControl(join(directory, name));
  }
}

const calls = nativeCalls<{
  eventfdSync(): number;
  drainEventfdSync(fd: number): void;
  closeFdSync(fd: number): void;
}>()('eventfdSync', 'drainEventfdSync', 'closeFdSync');

/** USER_HZ is 100 on every architecture Isle runs on. */
const NANOSECONDS_PER_TICK = 1e7;

function hierarchies(layout: V1Layout): string[] {
  return [...new Set([...layout.controllers.values(), ...layout.named])];
}

async function inherit(parent: string, child: string, file: string): Promise<void> {
  const current = await readControl(join(child, file));
  if (current === undefined || current.trim() !== '') return;
  const inherited = await readFile(join(parent, file), 'latin1');
  await writeControl(join(child, file), inherited.trim());
}

/** Kills the process only if it is (still) in the group `path`: its pid may have become another's since it was listed. */
function killMember(pid: number, path: string): void {
  const startTime = startTimeOf(pid);
  if (startTime === undefined || !isMember(pid, path)) return;
  pidfdSignal(pid, startTime, constants.signals.SIGKILL);
}

function isMember(pid: number, path: string): boolean {
  try {
    const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trimEnd().split('\n');
    return groups.some((line) =>
      `${line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1)}/`.startsWith(`${path}/`),
    );
  } catch (error) {
    if (isGone(error) || errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}

function ignoreGone(error: unknown): void {
  if (!isGone(error)) throw error;
}

function ignoreTimeout(error: unknown): void {
  if (errnoOf(error) !== 'ETIMEDOUT') throw error;
}

async function supportOf(layout: V1Layout): Promise<CgroupSupport> {
  const files = new Set<string>();
  for (const root of new Set(layout.controllers.values()))
    for (const file of await filesOfChild(root)) files.add(file);
  return {
    memory: files.has('memory.limit_in_bytes'),
    memoryReservation: files.has('memory.soft_limit_in_bytes'),
    swap: files.has('memory.memsw.limit_in_bytes'),
    swappiness: files.has('memory.swappiness'),
    oomKillDisable: files.has('memory.oom_control'),
    kernelMemoryTcp: files.has('memory.kmem.tcp.limit_in_bytes'),
    cpuShares: files.has('cpu.shares'),
    cpuQuota: files.has('cpu.cfs_quota_us'),
    cpuRealtime: files.has('cpu.rt_runtime_us'),
    cpuset: files.has('cpuset.cpus'),
    pids: files.has('pids.max'),
    // Not blkio.bfq.weight: crun 1.8 writes blkio.weight only.
    blkioWeight: files.has('blkio.weight'),
    blkioThrottle: files.has('blkio.throttle.read_bps_device'),
    hugetlb: layout.controllers.has('hugetlb'),
  };
}

/** Control files of a group below the root: the root lacks some. */
async function filesOfChild(root: string): Promise<string[]> {
  try {
    const probe = await mkdtemp(join(root, 'isle-probe-'));
    try {
      return await readdir(probe);
    } finally {
      await rmdir(probe);
    }
  } catch {
    return readdir(root);
  }
}

import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Resources } from '../../engine/model.ts';
import type {
  Ending,
  ExecSession,
  ExecSpec,
  Exit,
  Recovered,
  Runtime,
  RuntimeStats,
  RuntimeTraits,
  Streams,
  TerminalSize,
  Workload,
} from '../../engine/runtime.ts';
import { closeFd } from '../../host/paths.ts';
import { run } from '../../host/run.ts';
import { startTimeOf } from '../../host/process.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { noteParents, removeParents } from './cgroup-parents.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { Rollback } from '../../lib/rollback.ts';
import { type Monitor, MonitorFailure, type MonitorTools, startMonitor } from './conmon.ts';
import { Container, type ContainerOptions } from './container.ts';
import { reopenLogFile, resizeTerminal } from './control.ts';
import { checkWorkingDirectory } from './cwd-guard.ts';
import { type Dressing, plain } from './dressing.ts';
import { startExec } from './exec.ts';
import { openGate } from './gate.ts';
import { type OciConfig, type OciRuntimeOptions, openParts, type Parts } from './parts.ts';
import { readRecord, recordOf, writeRecord } from './record.ts';
import { readRootFile } from './root-files.ts';
import { findRemains } from './recovery.ts';
import { killContainer, killRemains, removeFiles } from './removal.ts';
import { runtimeFailure } from './runtime-failure.ts';
import { mountSharedMemory, sharedMemoryOf } from './shared-memory.ts';
import { specOf } from './spec.ts';
import { restoreNull, Staging } from './staging.ts';
import { updateLimits } from './update.ts';
import { openUserNamespace } from './user-namespace.ts';

export type { OciConfig, OciRuntimeOptions };

/** The Runtime contract with crun (or runc) and conmon. Resolves when the host's tools and cgroups are known. */
export async function createOciRuntime(options: OciRuntimeOptions): Promise<OciRuntime> {
  return new OciRuntime(await openParts(options));
}

export class OciRuntime implements Runtime {
  readonly name: string;
  readonly traits: RuntimeTraits;
  #parts: Parts;
  #dressing: Dressing;
  #containers = new Map<string, Container>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#dressing = parts.dressing ?? plain;
    this.name = this.#dressing.name;
    this.traits = this.#dressing.traits;
  }

  anticipate(): void {
    void this.#parts.cgroups.prepareMove();
  }

  async create(asked: Workload): Promise<void> {
    const { layout, host, filters, log } = this.#parts;
    const dressed = await this.#dressing.dress(asked, host);
    const { workload } = dressed;
    const { id } = workload;
    const bundle = layout.bundle(id);
    const cgroup = layout.cgroup(id, workload.cgroupParent);
    using userns = await openUserNamespace(workload, this.#parts.tools.kind);
    const staging = new Staging(bundle, workload, userns);
    const spec = await specOf(
      workload,
      cgroup,
      host,
      (path) => readRootFile(workload.rootfs, path),
      { shm: this.#sharedMemory(workload), ...staging.paths },
      userns,
    );
    dressed.change?.(spec);
    staging.takeFrom(spec);
    const keepFilter = this.#parts.tools.kind === 'crun' ? await filters.apply(spec) : undefined;
    await using undo = new Rollback();
    failpoint('runtime.bundle.before');
    await makeBundle(bundle, id);
    undo.add('bundle', () => this.delete(id));
    const record = recordOf(workload, spec, this.#parts.boot, dressed.ending);
    await Promise.all([
      writeFile(join(bundle, 'config.json'), JSON.stringify(spec), { mode: 0o600 }),
      writeRecord(bundle, record),
      // Of an earlier run, when its removal was cut short.
      rm(join(layout.exits, id), { force: true }),
      mkdir(layout.execs(id), { mode: 0o700 }),
      workload.ipc === 'shareable' ? mountSharedMemory(bundle, workload.shmSize, workload.idMap) : undefined,
      staging.make(),
    ]);
    if (workload.cgroupParent !== '') await noteParents(layout, this.#parts.cgroups, cgroup);
    failpoint('runtime.bundle.after');
    failpoint('runtime.monitor.before');
    const monitor = await this.#startMonitor(workload, bundle).finally(restoreNull);
    failpoint('runtime.monitor.after');
    const cleared = staging.clear();
    cleared.catch(() => {}); // Told below, unless something else failed before.
    const startTime = startTimeOf(monitor.pid);
    if (startTime === undefined)
      throw isleError('hostTool', {
        tool: 'conmon',
        message: `the process it created (${monitor.pid}) is gone`,
      });
    this.#watch({ id, record, pid: monitor.pid, startTime, monitorEnded: monitor.ended });
    if (spec.process.cwd !== '/') checkWorkingDirectory(monitor.pid, workload.cwd);
    await dressed.created?.(cgroup);
    await cleared;
    undo.keep();
    keepFilter?.(join(layout.state, id)).catch((error: unknown) =>
      log.warn({ err: error }, 'cannot keep the compiled seccomp filter'),
    );
  }

  async start(id: string): Promise<{ pid: number }> {
    const container = await this.#get(id);
    failpoint('runtime.start.before');
    const state = join(this.#parts.layout.state, id);
    if (this.#parts.tools.kind !== 'crun' || !openGate(state)) await this.#runtimeCall('start', id);
    failpoint('runtime.start.after');
    return { pid: container.pid };
  }

  async signal(id: string, signal: number): Promise<void> {
    const container = await this.#get(id);
    if (container.ended || !container.signal(signal)) throw notRunning(id);
  }

  async wait(id: string): Promise<Exit> {
    return await (await this.#get(id)).exit;
  }

  async ending(id: string): Promise<Ending | undefined> {
    return (await this.#get(id)).record.ending;
  }

  async exec(id: string, exec: ExecSpec): Promise<ExecSession> {
    const { layout, host, pids } = this.#parts;
    const container = await this.#get(id);
    if (container.ended) throw notRunning(id);
    const place = {
      directory: layout.exec(id, exec.id),
      pids,
      pidPath: join(layout.pids, exec.id),
      allCapabilities: [...host.capabilities],
    };
    return await startExec(container, exec, place, this.#tools());
  }

  async attach(id: string): Promise<Streams> {
    return await (await this.#get(id)).hub.attach();
  }

  async resize(id: string, size: TerminalSize): Promise<void> {
    await resizeTerminal((await this.#get(id)).bundle, size);
  }

  async pause(id: string): Promise<void> {
    const container = await this.#get(id);
    if (container.ended) throw notRunning(id);
    failpoint('runtime.pause.before');
    await stillRunning(container, container.freeze());
    failpoint('runtime.pause.after');
  }

  async resume(id: string): Promise<void> {
    const container = await this.#get(id);
    if (container.ended) throw notRunning(id);
    failpoint('runtime.resume.before');
    await container.cgroup.thaw();
    failpoint('runtime.resume.after');
  }

  async update(id: string, resources: Resources): Promise<void> {
    const { host } = this.#parts;
    const container = await this.#get(id);
    if (container.ended) throw notRunning(id);
    await updateLimits(container, resources, host.limits, this.#tools());
  }

  async stats(id: string): Promise<RuntimeStats> {
    const stats = await (await this.#get(id)).cgroup.stats();
    if (!stats) throw notRunning(id);
    return stats;
  }

  async processes(id: string): Promise<number[]> {
    return await (await this.#get(id)).cgroup.processes();
  }

  async reopenLog(id: string): Promise<void> {
    await reopenLogFile((await this.#get(id)).bundle);
  }

  async delete(id: string): Promise<void> {
    const { layout, cgroups } = this.#parts;
    const bundle = layout.bundle(id);
    const container = this.#containers.get(id);
    failpoint('runtime.delete.before');
    const path = container?.record.cgroup ?? (await readRecord(bundle))?.cgroup ?? layout.cgroup(id, '');
    const cgroup = cgroups.cgroup(path);
    if (container) await killContainer(container);
    else await killRemains(bundle, cgroup);
    container?.hub.close();
    await Promise.all([removeFiles(layout, id, cgroup), container?.monitorEnded]);
    if (path !== layout.cgroup(id, '')) await removeParents(layout, cgroups, path);
    if (this.#containers.get(id) === container) this.#containers.delete(id);
    await this.#dressing.removed?.(id);
    failpoint('runtime.delete.after');
  }

  async recover(id: string): Promise<Recovered> {
    const remains = await findRemains(this.#parts, id);
    if (!remains) return { state: 'gone' };
    const { state, pid, startedAt } = remains;
    const container = this.#containers.get(id) ?? this.#watch(remains);
    if (state === 'exited') return { state, exit: await container.exit };
    return startedAt === undefined ? { state, pid } : { state, pid, startedAt };
  }

  async leftovers(): Promise<string[]> {
    const { layout, cgroups, instance } = this.#parts;
    const found = await Promise.all([
      readdir(layout.bundles),
      readdir(layout.state),
      readdir(layout.exits),
      cgroups.children(`/${instance}`),
    ]);
    return [...new Set(found.flat())].filter((name) => !name.startsWith('.'));
  }

  async close(): Promise<void> {
    this.#parts.exits.close();
    this.#parts.pids.close();
    if (this.#parts.tools.sealed !== undefined) closeFd(this.#parts.tools.sealed);
    this.#parts.tools.sealed = undefined;
    await this.#dressing.close?.();
  }

  /** The watched container; one that an earlier daemon left is recovered on first touch. */
  async #get(id: string): Promise<Container> {
    const known = this.#containers.get(id);
    if (known) return known;
    if ((await this.recover(id)).state === 'gone') throw isleError('noSuchContainer', { id });
    return this.#get(id);
  }

  #watch(options: Omit<ContainerOptions, 'bundle' | 'cgroup' | 'exits'>): Container {
    const { layout, cgroups, exits } = this.#parts;
    const container = new Container({
      ...options,
      exits,
      bundle: layout.bundle(options.id),
      cgroup: cgroups.cgroup(options.record.cgroup),
    });
    this.#containers.set(options.id, container);
    return container;
  }

  /** The workload's own shared memory when others may join it, or that of the workload it joins. */
  #sharedMemory({ id, ipc }: Workload): string | undefined {
    if (ipc === 'shareable') return sharedMemoryOf(this.#parts.layout.bundle(id));
    if (typeof ipc !== 'object') return undefined;
    const owner = [...this.#containers.values()].find((container) => container.pid === ipc.pid);
    return owner?.record.sharesMemory ? sharedMemoryOf(owner.bundle) : undefined;
  }

  #tools(): MonitorTools {
    const { layout, tools } = this.#parts;
    return { ...tools, state: layout.state, terminals: layout.terminals };
  }

  async #startMonitor(workload: Workload, directory: string): Promise<Monitor> {
    const { layout, tools } = this.#parts;
    try {
      return await startMonitor(this.#tools(), {
        id: workload.id,
        unit: workload.id,
        directory,
        logPath: workload.logPath,
        tty: workload.tty,
        stdin: workload.stdin,
        leaveStdinOpen: !workload.stdinOnce,
        exitDirectory: layout.exits,
      });
    } catch (error) {
      if (error instanceof MonitorFailure)
        throw runtimeFailure(tools.kind, error.message, workload.args[0] ?? '');
      throw error;
    }
  }

  async #runtimeCall(command: string, ...args: string[]): Promise<void> {
    const { tools, layout } = this.#parts;
    const result = await run(tools.runtime, [`--root=${layout.state}`, command, ...args]);
    if (result.code !== 0)
      throw isleError('conflict', {
        message: `${tools.kind} ${command} ${args[0]}: ${result.stderr.trim()}`,
      });
  }
}

async function makeBundle(bundle: string, id: string): Promise<void> {
  try {
    await mkdir(bundle, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST')
      throw isleError(
        'conflict',
        { message: `container ${id} has a run directory already: delete it first` },
        error,
      );
    throw error;
  }
}

/** A process that ends while it is frozen is never seen standing still. */
async function stillRunning(container: Container, frozen: Promise<void>): Promise<void> {
  const ended = container.exit.then(() => Promise.reject(notRunning(container.id)));
  frozen.catch(() => {}); // Told by whichever comes first.
  ended.catch(() => {});
  await Promise.race([frozen, ended]);
}

function notRunning(id: string) {
  return isleError('conflict', { message: `container ${id} is not running` });
}

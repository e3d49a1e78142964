import { existsSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname } from 'node:path';
import type { ContainerSpec, Resources } from '../../engine/model.ts';
import type {
  ExecSession,
  ExecSpec,
  Exit,
  Recovered,
  Runtime,
  RuntimeStats,
  Streams,
  TakenIds,
  TerminalSize,
  Workload,
} from '../../engine/runtime.ts';
import { wireGuest } from '../../host/guest-link.ts';
import { isIsleError, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { Semaphore } from '../../lib/semaphore.ts';
import { Rollback } from '../../lib/rollback.ts';
import { qemuUser } from '../confined/dressing.ts';
import { makeSockets, mountMonitor } from '../confined/monitor-directory.ts';
import { watched } from './boot-watch.ts';
import { monitorWorkload } from './confinement.ts';
import { dropKernel } from './drop-kernel.ts';
import { startExec } from './exec.ts';
import type { GuestSpec } from './guest-spec.ts';
import { guestPlanOf, guestSpecNow } from './guest-spec-of.ts';
import { layoutOf } from './layout.ts';
import { type MicrovmOptions, type MicrovmParts, openParts } from './parts.ts';
import { GuestPool } from './pool.ts';
import { giveGuest, linkLog, type ReadyGuest, sweepPoolLogs } from './ready-guest.ts';
import { readVmRecord, type VmRecord, writeVmRecord } from './record.ts';
import { refuseHostThings } from './refusals.ts';
import { sizeOf } from './resources.ts';
import { mountRoot, mountShare, unmountPlace } from './share.ts';
import { statsOf } from './stats.ts';
import { microvmTraits } from './traits.ts';
import { updateLimits } from './update.ts';
import { endsWithin, Vm } from './vm.ts';
import { makeVmDirectory, moveVmDirectory, writeBootFile } from './vm-directory.ts';

export type { MicrovmOptions };

const [sigkill, sigpipe, sigchld, sigstop] = [9, 13, 17, 19];

/** Milliseconds for a guest to take a signal that its shim cannot pass on. */
const signalTime = 3000;

/** Milliseconds for a guest that was killed to end: it still sends what its workload wrote, to a host whose disk may be busy. */
const endTime = 10_000;

/**
 * The Runtime contract with a kernel for each workload: QEMU and virtiofsd, confined in a container of their own whose
 * process is the shim (native/shim). Throws `unavailable` saying what this host lacks.
 */
export async function createMicrovmRuntime(options: MicrovmOptions): Promise<MicrovmRuntime> {
  return new MicrovmRuntime(await openParts(options));
}

/** For a host that lacks what microVMs need: removes what is left of them. Undefined when none ever ran since it booted. */
export async function createMicrovmCaretaker(options: MicrovmOptions): Promise<MicrovmRuntime | undefined> {
  if (!existsSync(layoutOf(options.runRoot, options.dataRoot).vms)) return undefined;
  const nothing = {
    qemu: '',
    virtiofsd: '',
    shim: '',
    accelerator: 'tcg',
    machine: '',
    arch: process.arch,
  } as const;
  return new MicrovmRuntime(await openParts(options, nothing));
}

export class MicrovmRuntime implements Runtime {
  readonly name = 'microvm';
  readonly traits = microvmTraits;
  #parts: MicrovmParts;
  #vms = new Map<string, Vm>();
  /** Guests that boot side by side take each other's time: the others wait, before their time-out begins. */
  #boots = new Semaphore(2 * availableParallelism());
  #pool: GuestPool;

  constructor(parts: MicrovmParts) {
    this.#parts = parts;
    this.#pool = new GuestPool(parts);
  }

  keepReady(ids: () => Promise<TakenIds>): void {
    if (this.#parts.config.pool === 0) return;
    const { layout, log } = this.#parts;
    sweepPoolLogs(layout).catch((error: unknown) => log.error({ err: error }, 'cannot tidy logs of guests'));
    this.#pool.keep(ids);
  }

  takeReady(spec: ContainerSpec): TakenIds | undefined {
    return this.#pool.offer(spec);
  }

  anticipate(): void {
    this.#parts.oci.anticipate();
  }

  async create(workload: Workload): Promise<void> {
    const { layout, config, host, oci } = this.#parts;
    const { id } = workload;
    refuseHostThings(workload);
    const size = sizeOf(workload.resources, config, host.accelerator);
    const guest = await this.#pool.take(workload, size);
    if (guest) return await this.#adopt(workload, guest);
    const confinement = await this.#parts.confinement();
    const place = layout.vm(id);
    const root = workload.idMap?.hostId ?? 0;
    await using undo = new Rollback();
    failpoint('microvm.directory.before');
    await makeVmDirectory(place.directory, id);
    undo.add('microVM', () => this.delete(id));
    failpoint('microvm.share.before');
    await mountMonitor(place.monitor, root, 512);
    await makeSockets(place.monitor, 'sockets', root);
    await mountShare(place, root);
    failpoint('microvm.share.after');
    const links = await wireGuest(workload.netns as string, { owner: root + qemuUser });
    const taps = links.map(({ tap, macAddress }) => ({ name: tap, macAddress }));
    await writeBootFile(place, root, confinement, size, taps);
    failpoint('microvm.directory.after');
    await oci.create(
      monitorWorkload(workload, place, confinement, { memory: size.memory, taps: taps.length > 0 }),
    );
    // Only now: these mounts travel into the container, where those of before may not (crun until 1.9 binds one alone).
    failpoint('microvm.root.before');
    await mountRoot(place, workload);
    await guestPlanOf(workload, place.root);
    failpoint('microvm.root.after');
    // The last: without it, what is there is no microVM.
    const record: VmRecord = { version: 1, workload, memory: size.memory, links, phase: 'created' };
    await writeVmRecord(place.record, record);
    undo.keep();
    this.#watch(id, record);
  }

  /** Gives a workload to a guest that waits for one. */
  async #adopt(workload: Workload, guest: ReadyGuest): Promise<void> {
    const { layout } = this.#parts;
    const { id } = workload;
    await using undo = new Rollback();
    undo.add('guest', () => this.delete(guest.id));
    const record: VmRecord = {
      version: 1,
      workload,
      memory: guest.size.memory,
      links: [],
      booted: { monitor: guest.id, pid: guest.pid },
      phase: 'created',
    };
    failpoint('microvm.adopt.before');
    await writeVmRecord(layout.vm(guest.id).record, record);
    await moveVmDirectory(layout, guest.id, id);
    undo.add('microVM', () => this.delete(id));
    const vm = this.#watch(id, record, guest);
    failpoint('microvm.adopt.after');
    const links = await giveGuest(this.#parts, guest, workload, vm.place);
    failpoint('microvm.root.before');
    await mountRoot(vm.place, workload);
    await guestPlanOf(workload, vm.place.root);
    failpoint('microvm.root.after');
    await vm.save({ links });
    undo.keep();
  }

  async start(id: string): Promise<{ pid: number }> {
    const { config, oci } = this.#parts;
    const vm = await this.#get(id);
    const { workload, links } = vm.record;
    const plan = await guestPlanOf(workload, vm.place.root);
    using _turn = await this.#boots.acquire(vm.ended);
    const spec = guestSpecNow(plan, links);
    failpoint('microvm.boot.before');
    const { pid } = vm.record.booted ?? (await oci.start(id));
    try {
      failpoint('microvm.boot.after');
      await this.#boot(vm, spec, config.bootTimeout * 1000);
      failpoint('microvm.run.after');
      await vm.save({ phase: 'running', startedAt: new Date().toISOString() });
    } catch (error) {
      await this.#kill(vm);
      throw error;
    }
    if (!vm.record.booted) void dropKernel(this.#parts, vm.monitor);
    failpoint('microvm.start.after');
    return { pid };
  }

  async #boot(vm: Vm, spec: GuestSpec, timeout: number): Promise<void> {
    const { oci, log } = this.#parts;
    const { id, place } = vm;
    const cpuTime = async () => (vm.paused ? undefined : (await oci.stats(vm.monitor)).cpu.total);
    const watch = { id, qmp: place.qmp, cpuTime, log, signal: vm.ended };
    await watched(watch, (up) => vm.boot(spec, timeout, up));
  }

  /** The shim passes on what it can catch; the rest goes through the agent. What a guest does not take kills the VM. */
  async signal(id: string, signal: number): Promise<void> {
    const vm = await this.#get(id);
    if (vm.over) throw notRunning(id);
    const ready = vm.record.phase === 'running' && !vm.paused;
    if (![sigkill, sigpipe, sigchld, sigstop].includes(signal))
      return await this.#parts.oci.signal(vm.monitor, signal);
    if (signal === sigkill) vm.doomed = true;
    if (ready) {
      try {
        await within(
          signalTime,
          vm.agent().then((agent) => agent.signal(signal)),
        );
        if (signal === sigkill) this.#endWhenStuck(vm);
        return;
      } catch (error) {
        if (vm.over) throw notRunning(id);
        if (signal !== sigkill) throw error;
        this.#parts.log.warn(
          { container: id, err: error },
          'the guest does not take its kill: the microVM is ended',
        );
      }
    }
    await this.#parts.oci.signal(vm.monitor, signal);
  }

  /** A guest that took its kill may still not come to its end: its kernel has the last word. */
  #endWhenStuck(vm: Vm): void {
    const { oci, log } = this.#parts;
    const end = async (): Promise<void> => {
      if (await endsWithin(vm.exit, endTime)) return;
      log.warn({ container: vm.id }, 'the guest was killed and does not end: the microVM is ended');
      await oci.signal(vm.monitor, sigkill);
    };
    end().catch(() => {}); // It has ended after all.
  }

  async wait(id: string): Promise<Exit> {
    return await (await this.#get(id)).exit;
  }

  async exec(id: string, exec: ExecSpec): Promise<ExecSession> {
    const vm = await this.#get(id);
    if (vm.over || vm.record.phase !== 'running') throw notRunning(id);
    if (vm.paused) throw isleError('conflict', { message: `container ${id} is paused` });
    return await startExec(vm, exec);
  }

  async attach(id: string): Promise<Streams> {
    return await this.#parts.oci.attach((await this.#get(id)).monitor);
  }

  async resize(id: string, size: TerminalSize): Promise<void> {
    const sides = [size.rows, size.columns];
    if (!sides.every((side) => Number.isInteger(side) && side >= 0 && side <= 65_535))
      throw isleError('invalidParameter', { message: `invalid terminal size ${size.columns}x${size.rows}` });
    const vm = await this.#get(id);
    if (vm.over) throw notRunning(id);
    if (vm.record.phase === 'running') return await (await vm.agent()).resize(size);
    await vm.save({ workload: { ...vm.record.workload, size } });
  }

  async pause(id: string): Promise<void> {
    const vm = await this.#get(id);
    await this.#parts.oci.pause(vm.monitor);
    vm.paused = true;
  }

  async resume(id: string): Promise<void> {
    const vm = await this.#get(id);
    await this.#parts.oci.resume(vm.monitor);
    vm.paused = false;
    void this.#setClock(vm);
  }

  async update(id: string, resources: Resources): Promise<void> {
    const vm = await this.#get(id);
    if (vm.over) throw notRunning(id);
    await updateLimits(vm, resources, this.#parts);
  }

  async stats(id: string): Promise<RuntimeStats> {
    const vm = await this.#get(id);
    const monitor = await this.#parts.oci.stats(vm.monitor);
    return vm.over || vm.record.phase !== 'running' ? monitor : await statsOf(vm, monitor);
  }

  async processes(id: string): Promise<number[]> {
    return await this.#parts.oci.processes(await this.#monitorOf(id));
  }

  async processTable(id: string): Promise<{ titles: string[]; processes: string[][] }> {
    const vm = await this.#get(id);
    if (vm.over || vm.record.phase !== 'running') throw notRunning(id);
    return await (await vm.agent()).processes();
  }

  async preparedFiles(): Promise<{ name: string; bytes: number }[]> {
    const { kernel } = await this.#parts.confinement();
    const paths = [kernel.kernel, kernel.initramfs];
    return await Promise.all(
      paths.map(async (path) => ({ name: basename(path), bytes: (await stat(path)).size })),
    );
  }

  async reopenLog(id: string): Promise<void> {
    const vm = await this.#get(id);
    await this.#parts.oci.reopenLog(vm.monitor);
    if (vm.record.booted) await linkLog(this.#parts.layout, vm.monitor, vm.record.workload);
  }

  async delete(id: string): Promise<void> {
    const { layout, oci } = this.#parts;
    const place = layout.vm(id);
    const vm = this.#vms.get(id);
    if (vm) vm.doomed = true;
    const monitor = await this.#monitorOf(id);
    await oci.delete(monitor);
    // It reads its outcome, which goes now.
    await vm?.exit;
    failpoint('microvm.remove.before');
    await unmountPlace(place);
    await rm(place.directory, { recursive: true, force: true });
    await rm(dirname(layout.poolLog(monitor)), { recursive: true, force: true });
    if (this.#vms.get(id) === vm) this.#vms.delete(id);
    failpoint('microvm.remove.after');
  }

  async recover(id: string): Promise<Recovered> {
    const { layout, oci } = this.#parts;
    const record = await readVmRecord(layout.vm(id).record);
    const found = await oci.recover(record?.booted?.monitor ?? id);
    if (found.state === 'gone' || !record) return { state: 'gone' };
    const vm = this.#vms.get(id) ?? this.#watch(id, record);
    vm.paused = found.state === 'paused';
    if (found.state === 'exited') return { state: 'exited', exit: await vm.exit };
    if (found.state === 'created') return found;
    if (vm.record.phase === 'running')
      return {
        state: found.state,
        pid: found.pid,
        ...(vm.record.startedAt ? { startedAt: vm.record.startedAt } : {}),
      };
    if (found.state === 'running' && (await vm.runsAlready()))
      return { state: 'running', pid: found.pid, startedAt: vm.record.startedAt as string };
    // Nobody was told that it runs, and nobody else knows what it should run.
    await vm.save({ reason: 'the daemon ended while the microVM booted' });
    await this.#kill(vm);
    return { state: 'exited', exit: await vm.exit };
  }

  async leftovers(): Promise<string[]> {
    const { layout, oci } = this.#parts;
    const [monitors, vms] = await Promise.all([oci.leftovers(), readdir(layout.vms)]);
    const records = await Promise.all(vms.map((id) => readVmRecord(layout.vm(id).record)));
    const adopted = new Set(records.map((record) => record?.booted?.monitor));
    return [...new Set([...monitors.filter((id) => !adopted.has(id)), ...vms])];
  }

  /** Lets go of every guest's agent; what needs one connects again. */
  disconnect(): void {
    for (const vm of this.#vms.values()) vm.disconnect();
  }

  async close(): Promise<void> {
    await this.#pool.close();
    this.disconnect();
    if ((await this.leftovers()).length === 0) await this.#parts.removeCgroup();
    await this.#parts.oci.close();
  }

  /** One that an earlier daemon left is recovered on first touch. */
  async #get(id: string): Promise<Vm> {
    const known = this.#vms.get(id);
    if (known) return known;
    if ((await this.recover(id)).state === 'gone') throw isleError('noSuchContainer', { id });
    return this.#get(id);
  }

  /** Works for what is half made, too. */
  async #monitorOf(id: string): Promise<string> {
    const record = this.#vms.get(id)?.record ?? (await readVmRecord(this.#parts.layout.vm(id).record));
    return record?.booted?.monitor ?? id;
  }

  #watch(id: string, record: VmRecord, guest?: ReadyGuest): Vm {
    const { layout, oci } = this.#parts;
    const ended = guest?.ended ?? oci.wait(record.booted?.monitor ?? id);
    const vm = new Vm({ id, place: layout.vm(id), record, ended, ...(guest ? { agent: guest.agent } : {}) });
    this.#vms.set(id, vm);
    return vm;
  }

  async #kill(vm: Vm): Promise<void> {
    await this.#parts.oci.resume(vm.monitor).catch(() => {}); // It has ended.
    await this.#parts.oci.signal(vm.monitor, sigkill).catch((error: unknown) => {
      if (!isIsleError(error, 'conflict')) throw error;
    });
    await vm.exit;
  }

  /** The guest's has stood still. */
  async #setClock(vm: Vm): Promise<void> {
    try {
      if (vm.record.phase === 'running' && !vm.over)
        await (await vm.agent()).clock(BigInt(Date.now()) * 1_000_000n);
    } catch (error) {
      this.#parts.log.warn(
        { container: vm.id, err: error },
        "the guest's clock could not be set after a pause",
      );
    }
  }
}

async function within<T>(milliseconds: number, done: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(isleError('guestUnresponsive', { what: 'signal', waited: milliseconds })),
    milliseconds,
  );
  done.catch(() => {});
  try {
    return await Promise.race([done, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function notRunning(id: string) {
  return isleError('conflict', { message: `container ${id} is not running` });
}

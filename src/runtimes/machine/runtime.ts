import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineControl } from '../../engine/machine.ts';
import type { Resources } from '../../engine/model.ts';
import type {
  ExecSession,
  ExecSpec,
  Exit,
  Recovered,
  Runtime,
  RuntimeStats,
  Streams,
  TerminalSize,
  Workload,
} from '../../engine/runtime.ts';
import { wireGuest } from '../../host/guest-link.ts';
import { errnoOf, isIsleError, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { Rollback } from '../../lib/rollback.ts';
import { qemuUser } from '../confined/dressing.ts';
import { mountMonitor, unmountIfThere } from '../confined/monitor-directory.ts';
import { setClock } from './agent/clock.ts';
import { execInGuest } from './agent/exec.ts';
import { thawForgotten } from './agent/freeze.ts';
import { machineContainer } from './confinement.ts';
import { boardNameOf, keptBoard } from './board.ts';
import { rescueMigration, settleMigration } from './control/migrate.ts';
import { replugCables } from './control/links.ts';
import { continueFrom } from './control/save.ts';
import { limitDisks } from './control/disks.ts';
import { machineControl } from './control.ts';
import { mountFiles } from './exposure.ts';
import { accelerationFor, qemuFor } from './host.ts';
import { layoutOf, type MachinePlace } from './layout.ts';
import type { LiveMachine } from './live-machine.ts';
import { Machine } from './machine.ts';
import { type MachineOptions, type MachineParts, machineTraits, openParts } from './parts.ts';
import { passedDevices } from './passthrough.ts';
import { filesOf } from './plan.ts';
import { type MachineRecord, readMachineRecord } from './record.ts';
import { machineResources } from './resources.ts';
import { generationsOf } from './supervisor.ts';
import { unikernelHardware } from './unikernel.ts';

export type { MachineOptions };

const sigkill = 9;

/** Milliseconds for QEMU to stop its guest's processors. */
const patience = 5000;

/** Milliseconds for a QEMU that closed its monitor to end. */
const dying = 3000;

/**
 * The Runtime contract with full virtual machines: QEMU, confined in a container of its own whose process is the supervisor
 * (native/vmm). Throws `unavailable` saying what this host lacks.
 */
export async function createMachineRuntime(options: MachineOptions): Promise<MachineRuntime> {
  return new MachineRuntime(await openParts(options));
}

/** For a host that lacks what machines need: removes what is left of them. Undefined when none ever ran since it booted. */
export async function createMachineCaretaker(options: MachineOptions): Promise<MachineRuntime | undefined> {
  if (!existsSync(layoutOf(options.runRoot).machines)) return undefined;
  const nothing = { config: options.config, vmm: '', arch: undefined, accelerator: 'tcg' } as const;
  return new MachineRuntime(await openParts(options, nothing));
}

export class MachineRuntime implements Runtime {
  readonly name = 'machine';
  readonly traits = machineTraits;
  readonly machines: MachineControl;
  #parts: MachineParts;
  #machines = new Map<string, Machine>();

  constructor(parts: MachineParts) {
    this.#parts = parts;
    this.machines = machineControl(parts.host, (id) => this.#running(id));
  }

  anticipate(): void {
    this.#parts.oci.anticipate();
  }

  /** For what is more than {@link machines}. Throws `conflict` when it does not run. */
  async live(id: string): Promise<LiveMachine> {
    return await this.#running(id);
  }

  async create(workload: Workload): Promise<void> {
    const { layout, host, oci } = this.#parts;
    const { id, machine, netns } = workload;
    if (!machine)
      throw isleError('invalidParameter', { message: 'the runtime machine runs virtual machines only' });
    if (netns === undefined)
      throw isleError('invalidParameter', {
        message: "a machine cannot use the host's network: give it a network, or none",
      });
    await qemuFor(host, machine.spec.arch);
    const { accelerator } = accelerationFor(host, machine.spec);
    const passed = await passedDevices(machine.spec);
    const confinement = await this.#parts.confinement();
    const place = layout.machine(id);
    const root = workload.idMap?.hostId ?? 0;
    await using undo = new Rollback();
    failpoint('machine.directory.before');
    await makeDirectory(place, id);
    undo.add('machine', () => this.delete(id));
    await mountMonitor(place.monitor, root, 1024);
    await mountFiles(place.files, root);
    failpoint('machine.directory.after');
    const wired = await wireGuest(netns, { owner: root + qemuUser, configuresItself: true });
    const links = wired.map(({ name, tap, macAddress, mtu }, index) => ({
      index,
      name,
      tap,
      macAddress,
      mtu,
      model: machine.spec.nicModels[index] ?? 'virtio',
    }));
    const weak = accelerator === 'kvm' && host.accelerator !== 'kvm';
    const hardware = unikernelHardware(machine, { links: wired, hostname: workload.hostname, weak });
    const devices = [
      ...(accelerator === 'kvm' ? ['/dev/kvm'] : []),
      // For cards that come later, too.
      ...(existsSync('/dev/net/tun') ? ['/dev/net/tun'] : []),
      ...passed.devices,
    ];
    await oci.create(
      machineContainer({ ...workload, machine: hardware }, place, confinement, { ...passed, devices }),
    );
    const record: MachineRecord = {
      version: 1,
      workload,
      hardware,
      links,
      exposed: {},
      generation: 1,
      accelerator,
      phase: 'created',
    };
    const made = this.#watch(id, record);
    // Only now: these mounts travel into the container, where those of before may not (crun until 1.9 binds one alone).
    failpoint('machine.files.before');
    await made.exposeAll(filesOf(hardware));
    const { restoreFrom } = hardware;
    const board = restoreFrom && (await keptBoard(workload.stateDir, boardNameOf(restoreFrom)));
    await made.prepare(1, restoreFrom !== undefined && 'path' in restoreFrom, board);
    failpoint('machine.files.after');
    // The last: without it, what is there is no machine.
    await made.save({});
    undo.keep();
  }

  async start(id: string): Promise<{ pid: number }> {
    const machine = await this.#get(id);
    failpoint('machine.boot.before');
    const { pid } = await this.#parts.oci.start(id);
    try {
      failpoint('machine.boot.after');
      await machine.qmp();
      await limitDisks(machine);
      const { restoreFrom } = machine.hardware;
      if (restoreFrom) {
        await continueFrom(machine, restoreFrom);
        await replugCables(machine);
      }
      // What it went on from is used up: it does not go back there.
      const { restoreFrom: _, ...hardware } = machine.hardware;
      await machine.save({ phase: 'running', startedAt: new Date().toISOString(), hardware });
    } catch (error) {
      await this.#notStarted(machine, error);
    }
    failpoint('machine.start.after');
    return { pid };
  }

  /** SIGKILL pulls the plug; everything else asks the guest to power off. A unikernel hears no power button. */
  async signal(id: string, signal: number): Promise<void> {
    const machine = await this.#get(id);
    if (machine.over) throw notRunning(id);
    if (signal !== sigkill && !machine.hardware.spec.unikernel) {
      // As with a frozen process it arrives with the thaw.
      if (machine.paused) machine.shutdownPending = true;
      else await this.machines.shutdown(id);
      return;
    }
    machine.doomed = true;
    await this.#parts.oci.signal(id, sigkill);
  }

  async wait(id: string): Promise<Exit> {
    return await (await this.#get(id)).exit;
  }

  async exec(id: string, exec: ExecSpec): Promise<ExecSession> {
    const machine = await this.#running(id);
    if (machine.paused) throw isleError('conflict', { message: `container ${id} is paused` });
    return await execInGuest(machine, exec);
  }

  async attach(id: string): Promise<Streams> {
    return await this.#parts.oci.attach(id);
  }

  /** A serial console has no size that a guest could be told. */
  async resize(id: string, size: TerminalSize): Promise<void> {
    const sides = [size.rows, size.columns];
    if (!sides.every((side) => Number.isInteger(side) && side >= 0 && side <= 65_535))
      throw isleError('invalidParameter', { message: `invalid terminal size ${size.columns}x${size.rows}` });
    if ((await this.#get(id)).over) throw notRunning(id);
  }

  /** Its processors first, so that its clocks stand still too; then everything. */
  async pause(id: string): Promise<void> {
    const machine = await this.#running(id);
    await (await machine.qmp()).execute('stop', undefined, { patience });
    try {
      await this.#parts.oci.pause(id);
    } catch (error) {
      await (await machine.qmp()).execute('cont');
      throw error;
    }
    machine.paused = true;
  }

  async resume(id: string): Promise<void> {
    const machine = await this.#running(id);
    await this.#parts.oci.resume(id);
    try {
      await (await machine.qmp()).execute('cont', undefined, { patience });
    } catch (error) {
      if (machine.doomed) return; // Killed while it was frozen, it ended with the thaw.
      throw error;
    }
    machine.paused = false;
    const { shutdownPending } = machine;
    machine.shutdownPending = false;
    // It goes on whatever becomes of that: whoever stops it waits, and kills it then.
    if (shutdownPending)
      await this.machines
        .shutdown(id)
        .catch((error: unknown) =>
          this.#parts.log.warn({ container: id, err: error }, 'the machine could not be asked to power off'),
        );
    setClock(machine).catch((error: unknown) =>
      this.#parts.log.warn({ container: id, err: error }, "the guest's clock could not be set after a pause"),
    );
  }

  async update(id: string, resources: Resources): Promise<void> {
    const machine = await this.#running(id);
    const { workload, hardware } = machine.record;
    if (resources.memory !== undefined && resources.memory !== workload.resources.memory)
      throw isleError('invalidParameter', {
        message: "a machine's memory is its hardware: change it with isle vm setmem or isle vm edit",
      });
    const given = Object.fromEntries(Object.entries(resources).filter(([, value]) => value !== undefined));
    const wanted: Resources = { ...workload.resources, ...given };
    failpoint('machine.update.before');
    await this.#parts.oci.update(id, machineResources(wanted, hardware.spec));
    failpoint('machine.update.after');
    await machine.save({ workload: { ...workload, resources: wanted } });
  }

  async stats(id: string): Promise<RuntimeStats> {
    return await this.#parts.oci.stats(id);
  }

  async processes(id: string): Promise<number[]> {
    return await this.#parts.oci.processes(id);
  }

  async reopenLog(id: string): Promise<void> {
    await this.#parts.oci.reopenLog(id);
  }

  async delete(id: string): Promise<void> {
    const { layout, oci } = this.#parts;
    const place = layout.machine(id);
    const machine = this.#machines.get(id);
    if (machine) machine.doomed = true;
    await oci.delete(id);
    // It reads its outcome, which goes now.
    await machine?.exit;
    failpoint('machine.remove.before');
    await unmountFiles(place);
    await unmountIfThere(place.monitor);
    await rm(place.directory, { recursive: true, force: true });
    if (this.#machines.get(id) === machine) this.#machines.delete(id);
    failpoint('machine.remove.after');
  }

  async recover(id: string): Promise<Recovered> {
    const { layout, oci } = this.#parts;
    const record = await readMachineRecord(layout.machine(id).record);
    const found = await oci.recover(id);
    if (found.state === 'gone' || !record) return { state: 'gone' };
    const machine = this.#machines.get(id) ?? this.#watch(id, record);
    machine.paused = found.state === 'paused';
    if (found.state === 'exited') return { state: 'exited', exit: await machine.exit };
    if (found.state === 'created') return found;
    if (machine.record.phase === 'created' && machine.hardware.restoreFrom) {
      // Nobody was told that it runs, and it stands still half-way.
      await machine.save({ ending: 'the daemon ended while the machine was being continued' });
      await this.#kill(machine);
      return { state: 'exited', exit: await machine.exit };
    }
    const startedAt = machine.record.startedAt ?? found.startedAt ?? new Date().toISOString();
    if (machine.record.phase === 'created') await machine.save({ phase: 'running', startedAt });
    if (found.state === 'running') await this.#tidy(machine);
    return { state: found.state, pid: found.pid, startedAt };
  }

  async leftovers(): Promise<string[]> {
    const { layout, oci } = this.#parts;
    const [monitors, machines] = await Promise.all([oci.leftovers(), readdir(layout.machines)]);
    return [...new Set([...monitors, ...machines])];
  }

  /** Lets go of every monitor; what needs one connects again. */
  disconnect(): void {
    for (const machine of this.#machines.values()) machine.disconnect();
  }

  async close(): Promise<void> {
    this.disconnect();
    if ((await this.leftovers()).length === 0) await this.#parts.removeCgroup();
    await this.#parts.oci.close();
  }

  /** One that an earlier daemon left is recovered on first touch. */
  async #get(id: string): Promise<Machine> {
    const known = this.#machines.get(id);
    if (known) return known;
    if ((await this.recover(id)).state === 'gone') throw isleError('noSuchContainer', { id });
    return this.#get(id);
  }

  async #running(id: string): Promise<Machine> {
    const machine = await this.#get(id);
    if (machine.over || machine.record.phase === 'created') throw notRunning(id);
    return machine;
  }

  #watch(id: string, record: MachineRecord): Machine {
    const machine = new Machine(this.#parts, id, record, this.#parts.oci.wait(id));
    this.#machines.set(id, machine);
    return machine;
  }

  /** What an earlier daemon was in the middle of, once it is known that the machine runs. */
  async #tidy(machine: Machine): Promise<void> {
    try {
      const [current = 0, second] = await generationsOf(machine.place.control);
      const moved = await machine.followSupervisor(current);
      const qmp = await machine.qmp();
      // The supervisor ends the one that the guest has left.
      if (second === undefined || moved) await rescueMigration(qmp);
      else await settleMigration(qmp, await machine.second(second));
      await thawForgotten(machine);
    } catch (error) {
      this.#parts.log.warn(
        { container: machine.id, err: error },
        'what was under way in the machine is not tidied',
      );
    }
  }

  /**
   * Throws why, unless it is a unikernel that was through before anybody had spoken to its QEMU. Its connection may be seen to end before
   * it is, and its own words say more.
   */
  async #notStarted(machine: Machine, error: unknown): Promise<void> {
    const gone = isIsleError(error, 'guestGone') || machine.over;
    if (gone) await Promise.race([machine.exit, sleep(dying, undefined, { ref: false })]);
    const through = machine.hardware.spec.unikernel && machine.over;
    if (through && (await machine.exit).reason === undefined) return;
    await this.#kill(machine);
    if (!gone) throw error;
    throw isleError('guestBoot', { why: (await machine.exit).reason ?? 'it ended' }, error);
  }

  async #kill(machine: Machine): Promise<void> {
    await this.#parts.oci.resume(machine.id).catch(() => {}); // It has ended.
    await this.#parts.oci.signal(machine.id, sigkill).catch((error: unknown) => {
      if (!isIsleError(error, 'conflict')) throw error;
    });
    await machine.exit;
  }
}

async function makeDirectory(place: MachinePlace, id: string): Promise<void> {
  try {
    await mkdir(place.directory, { mode: 0o711 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    throw isleError(
      'conflict',
      { message: `container ${id} has a run directory already: delete it first` },
      error,
    );
  }
}

/** What is mounted in it goes along. */
async function unmountFiles({ files }: MachinePlace): Promise<void> {
  await unmountIfThere(files);
}

function notRunning(id: string) {
  return isleError('conflict', { message: `container ${id} is not running` });
}

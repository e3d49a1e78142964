import { chown, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { MachineHardware } from '../../engine/machine.ts';
import type { Exit } from '../../engine/runtime.ts';
import { findTap, removeTap, wireGuest } from '../../host/guest-link.ts';
import { connectQmp } from '../../host/qmp/connect.ts';
import type { Qmp } from '../../host/qmp/qmp.ts';
import { removeTree } from '../../host/tree-async.ts';
import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { qemuUser } from '../confined/dressing.ts';
import { makeSockets } from '../confined/monitor-directory.ts';
import { type Board, boardOf } from './board.ts';
import { bootFile } from './boot-file.ts';
import { monitors } from './command/qemu-command.ts';
import { exposeFile, hideFile } from './exposure.ts';
import { type MachinePlace, machinePaths } from './layout.ts';
import type { LinkedMachine, LiveMachine } from './live-machine.ts';
import { readOutcome } from './outcome.ts';
import type { MachineParts } from './parts.ts';
import { machineResources } from './resources.ts';
import { passedDevices } from './passthrough.ts';
import { bootPlanOf } from './plan.ts';
import { type MachineLink, type MachineRecord, writeMachineRecord } from './record.ts';
import { askSupervisor } from './supervisor.ts';
import { unikernelExitCode } from './unikernel.ts';

/** Milliseconds for QEMU to open its monitor on a busy host. */
const openingTime = 30_000;

type SecondMonitor = Awaited<ReturnType<LiveMachine['secondMonitor']>>;

/** A machine that this process knows. */
export class Machine implements LiveMachine, LinkedMachine {
  readonly id: string;
  readonly place: MachinePlace;
  readonly record: MachineRecord;
  readonly exit: Promise<Exit>;
  paused = false;
  /** It was asked to power off while it was paused. */
  shutdownPending = false;
  /** It is being killed: by us, for somebody who asked for it. */
  doomed = false;
  #parts: MachineParts;
  #ended = new AbortController();
  #qmp: Promise<Qmp> | undefined;
  #busy = new Set<string>();
  #saved: Promise<void> = Promise.resolve();
  #exposing = new KeyedLock();

  constructor(parts: MachineParts, id: string, record: MachineRecord, ended: Promise<Exit>) {
    this.#parts = parts;
    this.id = id;
    this.place = parts.layout.machine(id);
    this.record = record;
    this.exit = this.#explain(ended);
    this.exit.catch(() => {});
  }

  get hardware(): MachineHardware {
    return this.record.hardware;
  }

  get over(): boolean {
    return this.#ended.signal.aborted;
  }

  /** Aborted when it ends. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  async qmp(): Promise<Qmp> {
    this.#refuseOver();
    return await (this.#qmp ?? this.#keep(this.#connect('qmp')));
  }

  async ownQmp(): Promise<Qmp> {
    this.#refuseOver();
    const name = monitors.find((each) => each.startsWith('job') && !this.#busy.has(each));
    if (name === undefined)
      throw isleError('conflict', {
        message: `the machine ${this.id} is busy with other long jobs: try again later`,
      });
    this.#busy.add(name);
    try {
      const qmp = await this.#connect(name);
      void qmp.closed.then(() => this.#busy.delete(name));
      return qmp;
    } catch (error) {
      this.#busy.delete(name);
      throw error;
    }
  }

  async expose(path: string, { write }: { write: boolean }): Promise<string> {
    const release = await this.#exposing.acquire('');
    try {
      return await this.#expose(path, write, false);
    } finally {
      release();
    }
  }

  async withdraw(path: string): Promise<void> {
    const release = await this.#exposing.acquire('');
    try {
      const found = this.record.exposed[path];
      if (found === undefined) return;
      await hideFile(this.place.files, found.name);
      const { [path]: _, ...exposed } = this.record.exposed;
      await this.save({ exposed });
    } finally {
      release();
    }
  }

  /** Before it starts. */
  async exposeAll(files: { path: string; write: boolean; share: boolean }[]): Promise<void> {
    const hostId = this.#hostId;
    await exposeFile(this.place.files, 'own', this.hardware.directory, {
      write: true,
      owners: 'qemu',
      hostId,
    });
    for (const { path, write, share } of files) await this.#expose(path, write, share);
  }

  pathOf(path: string): string {
    return join(machinePaths.own, relative(this.hardware.directory, path));
  }

  /** As QEMU sees a file of the host; the firmware's lies below /usr. */
  visible(path: string): string {
    const found = this.record.exposed[path];
    if (found !== undefined) return join(machinePaths.files, found.name);
    if (path.startsWith(`${this.hardware.directory}/`)) return this.pathOf(path);
    throw isleError('internal', { message: `${path} was not made visible to the machine ${this.id}` });
  }

  async changeHardware(change: (hardware: MachineHardware) => MachineHardware): Promise<void> {
    await this.save({ hardware: change(this.record.hardware) });
  }

  async agentSocket(): Promise<string> {
    const qmp = await this.qmp();
    const found = await qmp.execute<{ label?: string; 'frontend-open'?: boolean }[]>('query-chardev');
    if (!found.some((each) => each.label === 'agent' && each['frontend-open'] === true))
      throw isleError('guestAgentMissing', {});
    return this.place.socket(this.record.generation, 'agent');
  }

  async screenSocket(): Promise<string> {
    return this.place.socket(this.record.generation, 'vnc');
  }

  get links(): readonly MachineLink[] {
    return this.record.links;
  }

  async openTap(name: string, index: number): Promise<{ tap: string; macAddress: string; mtu: number }> {
    const { netns = '' } = this.record.workload;
    const wired = await wireGuest(netns, { owner: this.#hostId + qemuUser, configuresItself: true });
    const link = wired.find((one) => one.name === name);
    if (link === undefined)
      throw isleError('conflict', {
        message: `the machine ${this.id} has no interface ${name} to plug a card for`,
      });
    const { tap, macAddress, mtu } = link;
    await askSupervisor(this.place.control, `tap ${this.record.generation} ${tap} tap${index}`);
    return { tap, macAddress, mtu };
  }

  async closeTap(name: string): Promise<void> {
    const { netns = '' } = this.record.workload;
    const tap = await findTap(netns, name);
    if (tap === undefined) return;
    await askSupervisor(this.place.control, `untap ${tap}`);
    await removeTap(netns, name);
  }

  async changeLinks(change: (links: readonly MachineLink[]) => MachineLink[]): Promise<void> {
    await this.save({ links: change(this.record.links) });
  }

  async secondMonitor(): Promise<SecondMonitor> {
    const next = this.record.generation + 1;
    await this.prepare(next, true, await boardOf(await this.qmp()));
    await this.#allowGuests(2);
    try {
      await askSupervisor(this.place.control, `start ${next}`);
    } catch (error) {
      await this.#forget(next);
      await this.#allowOne();
      throw error;
    }
    return await this.second(next);
  }

  /** A QEMU that was started beside the machine's. It is ended when it cannot be reached. */
  async second(generation: number): Promise<SecondMonitor> {
    const abandon = async (): Promise<void> => {
      await askSupervisor(this.place.control, `kill ${generation}`);
      await this.#forget(generation);
      await this.#allowOne();
    };
    try {
      const qmp = await this.#connect('job0', generation);
      const adopt = async (): Promise<void> => {
        await askSupervisor(this.place.control, `current ${generation}`);
        failpoint('machine.migrate.current');
        await this.followSupervisor(generation);
      };
      return { qmp, adopt, abandon };
    } catch (error) {
      await abandon();
      throw error;
    }
  }

  /** Goes on with the QEMU that the supervisor calls the current one. False when it is that one already. */
  async followSupervisor(current: number): Promise<boolean> {
    const before = this.record.generation;
    if (current === before || current === 0) return false;
    await this.save({ generation: current });
    this.disconnect();
    await this.#forget(before);
    await this.#allowOne();
    return true;
  }

  /** Its control group has room for that many copies of the guest's memory: a guest that moves is there twice. */
  async #allowGuests(count: number): Promise<void> {
    const { memory = 0 } = machineResources(this.record.workload.resources, this.hardware.spec);
    await this.#parts.oci.update(this.id, { memory: memory * count });
  }

  /** What was moved is moved: a limit that is too high does no harm, and the next update sets it. */
  async #allowOne(): Promise<void> {
    try {
      await this.#allowGuests(1);
    } catch (error) {
      this.#parts.log.warn({ container: this.id, err: error }, 'its memory limit stays that of two guests');
    }
  }

  /** Writes what the supervisor shall start. `board`: of the QEMU whose memory it takes over. */
  async prepare(generation: number, incoming: boolean, board?: Board): Promise<void> {
    const hostId = this.#hostId;
    await removeTree(join(this.place.monitor, String(generation)));
    await makeSockets(this.place.monitor, String(generation), hostId);
    const passed = await passedDevices(this.hardware.spec);
    const plan = await bootPlanOf(this.#parts.host, this.record, (path) => this.visible(path), {
      generation,
      incoming,
      passed: passed.nodes,
      board,
    });
    const path = this.place.boot(generation);
    await writeFile(path, bootFile(plan), { mode: 0o600 });
    await chown(path, hostId, hostId);
  }

  /** Lets go of the guest's QEMU; what needs it connects again. */
  disconnect(): void {
    const qmp = this.#qmp;
    this.#qmp = undefined;
    qmp?.then(
      (connected) => connected.close(),
      () => {},
    );
  }

  async save(changes: Partial<MachineRecord>): Promise<void> {
    Object.assign(this.record, changes);
    const saved = this.#saved.then(() => writeMachineRecord(this.place.record, this.record));
    this.#saved = saved.catch(() => {}); // Its caller hears of it.
    await saved;
  }

  get #hostId(): number {
    return this.record.workload.idMap?.hostId ?? 0;
  }

  async #expose(path: string, write: boolean, share: boolean): Promise<string> {
    if (path.startsWith(`${this.hardware.directory}/`)) return this.pathOf(path);
    const known = this.record.exposed[path];
    if (known && (known.write || !write)) return join(machinePaths.files, known.name);
    const name = known?.name ?? nameAfter(Object.values(this.record.exposed).map((each) => each.name));
    if (known) await hideFile(this.place.files, name);
    const owners = share ? 'all' : 'qemu';
    await exposeFile(this.place.files, name, path, { write, owners, hostId: this.#hostId });
    await this.save({ exposed: { ...this.record.exposed, [path]: { name, write } } });
    return join(machinePaths.files, name);
  }

  async #forget(generation: number): Promise<void> {
    await removeTree(join(this.place.monitor, String(generation)));
    await rm(this.place.boot(generation), { force: true });
  }

  #keep(connecting: Promise<Qmp>): Promise<Qmp> {
    const forget = (): void => {
      if (this.#qmp === connecting) this.#qmp = undefined;
    };
    this.#qmp = connecting;
    connecting.then((qmp) => void qmp.closed.then(forget), forget);
    return connecting;
  }

  async #connect(name: string, generation = this.record.generation): Promise<Qmp> {
    const path = this.place.socket(generation, name);
    return await connectQmp(path, { patience: openingTime, signal: this.#ended.signal });
  }

  #refuseOver(): void {
    if (this.over) throw isleError('conflict', { message: `container ${this.id} is not running` });
  }

  async #explain(ended: Promise<Exit>): Promise<Exit> {
    const exit = await ended;
    this.#ended.abort(isleError('conflict', { message: `container ${this.id} is not running` }));
    this.disconnect();
    const { off, code, reason } = await readOutcome(this.place.outcome);
    const { ending } = this.record;
    const said = this.hardware.spec.unikernel ? unikernelExitCode(code) : undefined;
    if (said !== undefined) return { ...exit, code: said };
    if (ending !== undefined) return off ? exit : { ...exit, reason: reason ?? ending };
    if (off && exit.code === 0) return { ...exit, power: 'off' };
    return this.doomed || reason === undefined ? exit : { ...exit, reason };
  }
}

/** Names are used once: what was seen by one of them is never taken for something else. */
function nameAfter(names: string[]): string {
  return `f${Math.max(0, ...names.map((name) => Number(name.slice(1)))) + 1}`;
}

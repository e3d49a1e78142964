import type { Duplex } from 'node:stream';
import { removeContainer } from '../containers/remove.ts';
import { isRunning } from '../containers/records.ts';
import type { EngineContext } from '../context.ts';
import type { MachineInfo } from '../machine.ts';
import type {
  MachineAppliances,
  MachineBackups,
  MachineCard,
  MachineChange,
  MachineCloneOptions,
  MachineHardwareChanges,
  MachineRequest,
  Machines,
  MachineSnapshots,
  MachineStorage,
  MachineWork,
} from '../machines.ts';
import { ApplianceService } from './appliances.ts';
import { BackupService } from './backups/service.ts';
import { cardsOf } from './cards.ts';
import { cloneMachine } from './clone/clone.ts';
import { createMachine } from './create.ts';
import { editMachine } from './edit.ts';
import { HardwareService } from './hardware.ts';
import { migrateMachine, type MigrateOptions } from './migrate.ts';
import { powerMachine } from './power.ts';
import { allMachines, controlAny, findMachine, type MachineRecord } from './record.ts';
import { saveMachine } from './save.ts';
import { discardSaved } from './saved.ts';
import { Screens } from './screen.ts';
import { MachineSnapshotService } from './snapshots/service.ts';
import { StorageService } from './storage.ts';
import { type DiskUsage, diskUsage } from './usage.ts';

/** The Machines face: what a machine can do beyond a container, each thing a file (or a class) of its own beside this one. */
export class MachineService implements Machines {
  readonly hardware: MachineHardwareChanges;
  readonly storage: MachineStorage;
  readonly snapshots: MachineSnapshots;
  readonly backups: MachineBackups;
  readonly appliances: MachineAppliances;
  readonly #ctx: EngineContext;
  readonly #screens: Screens;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
    this.#screens = new Screens(ctx);
    this.hardware = new HardwareService(ctx);
    this.storage = new StorageService(ctx);
    this.snapshots = new MachineSnapshotService(ctx);
    this.backups = new BackupService(ctx);
    this.appliances = new ApplianceService(ctx);
  }

  create(
    name: string | undefined,
    request: MachineRequest,
    work?: MachineWork,
  ): Promise<{ id: string; warnings: string[] }> {
    return createMachine(this.#ctx, name, request, work);
  }

  get(id: string): MachineRecord {
    return findMachine(this.#ctx, id);
  }

  list(): MachineRecord[] {
    return allMachines(this.#ctx).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async info(id: string): Promise<MachineInfo | undefined> {
    if (!isRunning(findMachine(this.#ctx, id).state)) return undefined;
    const { record, control } = controlAny(this.#ctx, id);
    return await control.info(record.id);
  }

  cards(id: string): MachineCard[] {
    return cardsOf(this.#ctx, id);
  }

  disks(id: string): Promise<DiskUsage[]> {
    return diskUsage(this.#ctx, id);
  }

  shutdown(id: string): Promise<void> {
    return powerMachine(this.#ctx, id, 'shutdown');
  }

  reboot(id: string): Promise<void> {
    return powerMachine(this.#ctx, id, 'reboot');
  }

  reset(id: string): Promise<void> {
    return powerMachine(this.#ctx, id, 'reset');
  }

  save(id: string): Promise<void> {
    return saveMachine(this.#ctx, id);
  }

  discardSaved(id: string): Promise<void> {
    return discardSaved(this.#ctx, id);
  }

  edit(id: string, change: MachineChange): Promise<{ atNextStart: string[] }> {
    return editMachine(this.#ctx, id, change);
  }

  remove(reference: string, options: { force: boolean; disks: boolean }): Promise<void> {
    const { id } = findMachine(this.#ctx, reference);
    return removeContainer(this.#ctx, id, { force: options.force, volumes: options.disks });
  }

  clone(id: string, options: MachineCloneOptions): Promise<{ id: string; warnings: string[] }> {
    return cloneMachine(this.#ctx, id, options);
  }

  migrate(id: string, options: MigrateOptions): Promise<{ pausedMs: number; qemuVersion: string }> {
    return migrateMachine(this.#ctx, id, options);
  }

  screenshot(id: string): Promise<Buffer> {
    return this.#screens.screenshot(id);
  }

  displayTicket(id: string): { ticket: string; expiresAt: string } {
    return this.#screens.ticket(id);
  }

  display(ticket: string): Promise<Duplex> {
    return this.#screens.open(ticket);
  }
}

import { isleError } from '../../lib/errors.ts';
import { Rollback } from '../../lib/rollback.ts';
import { publishContainer } from '../containers/events.ts';
import { isRunning } from '../containers/records.ts';
import type { EngineContext } from '../context.ts';
import { explainFull } from '../disk-full.ts';
import type { MachineControl, MachineDisk, MachineSpec } from '../machine.ts';
import type { DiskRequest, MachineHardwareChanges, MachineWork } from '../machines.ts';
import { checkHardware } from './check-hardware.ts';
import { makeDisk, planDisk, refuseWithClones } from './disks.ts';
import { changeMachine, controlOf, findMachine, type MachineRecord } from './record.ts';
import { nextTarget } from './targets.ts';
import { userFile } from './user-files.ts';

/**
 * Changes of a machine's hardware that a guest takes up while it runs. Each is written down first and then done: a daemon that
 * dies in between leaves a machine that has it at its next start.
 */
export class HardwareService implements MachineHardwareChanges {
  readonly #ctx: EngineContext;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  attachDisk(reference: string, request: DiskRequest, work: MachineWork = {}): Promise<{ target: string }> {
    return this.#change(reference, async (record, control) => {
      const { machine } = record.spec;
      const taken = new Set([...machine.disks, ...machine.cdroms].map(({ target }) => target));
      const target = request.target ?? nextTarget(request.bus, taken);
      checkHardware({ ...machine, disks: [...machine.disks, { format: 'qcow2', ...request, target }] });
      const planned = await planDisk(this.#ctx, record, request, target);
      await using undo = new Rollback();
      try {
        await makeDisk(this.#ctx, record.id, planned, undo, work);
      } catch (error) {
        throw explainFull(this.#ctx, error, `making the disk ${target} of ${record.name}`);
      }
      const { disk } = planned;
      this.#put(record.id, (now) => ({ disks: [...now.disks, disk] }));
      undo.add('record', () => this.#put(record.id, (now) => without(now, target)));
      await control?.plugDisk(record.id, disk, this.#filesOf(disk));
      undo.keep();
      this.#publish(record.id);
      return { target };
    });
  }

  detachDisk(reference: string, target: string, { remove }: { remove: boolean }): Promise<void> {
    return this.#change(reference, async (record, control) => {
      const disk = diskOf(record, target);
      const { diskId } = disk;
      if (remove) this.#checkRemoval(record, disk);
      await control?.unplugDisk(record.id, target);
      this.#put(record.id, (now) => without(now, target));
      if (diskId !== undefined) {
        this.#ctx.disks.release(diskId, record.id);
        if (remove) await this.#ctx.disks.remove(diskId);
      }
      this.#publish(record.id);
    });
  }

  resizeDisk(reference: string, target: string, size: number): Promise<void> {
    return this.#change(reference, async (record, control) => {
      const { diskId } = diskOf(record, target);
      if (!Number.isSafeInteger(size) || size <= 0)
        throw isleError('invalidParameter', { message: `${size} is no size of a disk` });
      if (control) await control.resizeDisk(record.id, target, Math.ceil(size / 512) * 512);
      else if (diskId !== undefined) await this.#ctx.disks.resize(diskId, size);
      else
        throw isleError('conflict', {
          message: `the disk ${target} of "${record.name}" is a file of yours: start the machine to resize it, or use qemu-img`,
        });
      this.#publish(record.id);
    });
  }

  limitDisk(reference: string, target: string, limits: MachineDisk['limits']): Promise<void> {
    return this.#change(
      reference,
      async (record, control) => {
        const disks = record.spec.machine.disks.map((disk) =>
          disk === diskOf(record, target) ? { ...disk, limits } : disk,
        );
        checkHardware({ ...record.spec.machine, disks });
        await control?.limitDisk(record.id, target, limits);
        this.#put(record.id, () => ({ disks }));
        this.#publish(record.id);
      },
      { saved: true },
    );
  }

  changeMedium(reference: string, target: string, path: string | undefined): Promise<void> {
    return this.#change(reference, async (record, control) => {
      const { machine } = record.spec;
      if (!machine.cdroms.some((drive) => drive.target === target))
        throw isleError('invalidParameter', {
          message: `the machine "${record.name}" has no CD drive ${target}: it has ${listed(machine.cdroms)}`,
        });
      const real = path === undefined ? undefined : await userFile(this.#ctx, 'the CD', path, 'disk');
      await control?.changeMedium(record.id, target, real);
      this.#put(record.id, (now) => ({
        cdroms: now.cdroms.map((drive) =>
          drive.target === target ? { target, ...(real !== undefined && { path: real }) } : drive,
        ),
      }));
      this.#publish(record.id);
    });
  }

  setVcpus(reference: string, vcpus: number): Promise<void> {
    return this.#resize(reference, { vcpus }, (id, control) => control.setVcpus(id, vcpus));
  }

  setMemory(reference: string, memory: number): Promise<void> {
    return this.#resize(reference, { memory }, (id, control) => control.setMemory(id, memory));
  }

  #resize(
    reference: string,
    change: Partial<MachineSpec>,
    live: (id: string, control: MachineControl) => Promise<void>,
  ): Promise<void> {
    return this.#change(reference, async (record, control) => {
      checkHardware({ ...record.spec.machine, ...change });
      if (control) await live(record.id, control);
      this.#put(record.id, () => change);
      this.#publish(record.id);
    });
  }

  /** One change of a machine at a time; `control` is there while it runs. */
  #change<T>(
    reference: string,
    change: (record: MachineRecord, control: MachineControl | undefined) => Promise<T>,
    { saved = false } = {},
  ): Promise<T> {
    const { id } = findMachine(this.#ctx, reference);
    return this.#ctx.queue.run(id, async () => {
      const record = findMachine(this.#ctx, id);
      if (record.spec.machine.saved && !saved)
        throw isleError('conflict', {
          message: `the machine "${record.name}" is saved with the hardware it has: start it first, or forget what was saved (isle vm start --force-boot ${record.name})`,
        });
      const runs = isRunning(record.state);
      return await change(record, runs ? controlOf(this.#ctx, id).control : undefined);
    });
  }

  #put(id: string, change: (machine: MachineSpec) => Partial<MachineSpec>): void {
    changeMachine(this.#ctx, id, (machine) => ({ ...machine, ...change(machine) }));
  }

  #publish(id: string): void {
    publishContainer(this.#ctx, findMachine(this.#ctx, id), 'update');
  }

  #filesOf({ diskId, path = '' }: MachineDisk): { path: string; chain: string[] } {
    return diskId === undefined ? { path, chain: [] } : this.#ctx.disks.files(diskId);
  }

  /** Before the guest loses it: what stands on it, and what goes back to it. */
  #checkRemoval(record: MachineRecord, disk: MachineDisk): void {
    if (disk.diskId === undefined)
      throw isleError('invalidParameter', {
        message: `the disk ${disk.target} of "${record.name}" is a file of yours (${disk.path}): it is detached, but never removed`,
      });
    refuseWithClones(this.#ctx, record, [disk]);
    const snapshots = record.spec.machine.snapshots.filter(({ hardware }) =>
      hardware.disks.some(({ diskId }) => diskId === disk.diskId),
    );
    if (snapshots.length > 0)
      throw isleError('conflict', {
        message: `the snapshots ${snapshots.map(({ name }) => name).join(', ')} of "${record.name}" need the disk ${disk.target}: remove them first, or keep it`,
      });
  }
}

function diskOf({ name, spec }: MachineRecord, target: string): MachineDisk {
  const disk = spec.machine.disks.find((one) => one.target === target);
  if (disk) return disk;
  throw isleError('invalidParameter', {
    message: `the machine "${name}" has no disk ${target}: it has ${listed(spec.machine.disks)}`,
  });
}

function listed(targets: { target: string }[]): string {
  return targets.map(({ target }) => target).join(', ') || 'none';
}

function without(machine: MachineSpec, target: string): Partial<MachineSpec> {
  return {
    disks: machine.disks.filter((disk) => disk.target !== target),
    boot: machine.boot.filter((one) => one !== target),
  };
}

import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { MachineStorage, StoredDisk } from '../machines.ts';
import { allMachines } from './record.ts';

/** The disk store as people see it: whose each disk is, and what stands on what. */
export class StorageService implements MachineStorage {
  readonly #ctx: EngineContext;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  async list(): Promise<StoredDisk[]> {
    const owners = new Map(
      allMachines(this.#ctx).flatMap(({ name, spec }) =>
        spec.machine.disks.flatMap(({ diskId }) => (diskId === undefined ? [] : [[diskId, name] as const])),
      ),
    );
    return await Promise.all(
      this.#ctx.disks.list().map(async (disk) => {
        const machine = owners.get(disk.id);
        const { allocated } = await this.#ctx.disks.usage(disk.id);
        return { ...disk, allocated, ...(machine !== undefined && { machine }) };
      }),
    );
  }

  async remove(id: string): Promise<void> {
    const machine = allMachines(this.#ctx).find(({ spec }) =>
      spec.machine.disks.some(({ diskId }) => diskId === id),
    );
    if (machine)
      throw isleError('conflict', {
        message: `the disk ${id} belongs to the machine "${machine.name}": detach it first (isle vm detach-disk ${machine.name} …)`,
      });
    await this.#ctx.disks.remove(id);
  }

  async resize(id: string, size: number, options: { shrink: boolean }): Promise<void> {
    const { owner } = this.#ctx.disks.get(id);
    if (owner !== undefined)
      throw isleError('conflict', {
        message: `the disk ${id} belongs to a machine: resize it there (isle vm blockresize)`,
      });
    await this.#ctx.disks.resize(id, size, options);
  }
}

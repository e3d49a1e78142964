import type { Appliance, ApplianceDiskFile, ApplianceFormat, ApplianceMachine } from '../appliances.ts';
import { bounds } from './bounds.ts';
import { printable, refusal } from './refuse.ts';

/** Makes a disk's content ready as a file; may put it below `directory`. */
export type TakeDisk = (directory: string, signal?: AbortSignal) => Promise<ApplianceDiskFile>;

export type MachineDiskEntry = ApplianceMachine['disks'][number];

/** What a reader makes of a description. `disks` and `take` are parallel; a CD drive has nothing to take. */
export interface ReadMachine {
  machine: Omit<ApplianceMachine, 'disks'>;
  disks: { entry: MachineDiskEntry; take?: TakeDisk }[];
  warnings: string[];
}

export class OpenAppliance implements Appliance {
  readonly format: ApplianceFormat;
  readonly machine: ApplianceMachine;
  readonly warnings: string[];
  readonly #take: (TakeDisk | undefined)[];
  readonly #source: AsyncDisposable;

  /** Throws `invalidAppliance` for more than anybody's machine has. */
  constructor(format: ApplianceFormat, where: string, read: ReadMachine, source: AsyncDisposable) {
    const { machine, disks, warnings } = read;
    if (disks.length > bounds.disks) throw refusal(where, `it has ${disks.length} disks`);
    if (machine.nics.length > bounds.nics)
      throw refusal(where, `it has ${machine.nics.length} network cards`);
    this.format = format;
    this.machine = {
      ...machine,
      name: printable(machine.name) || 'imported',
      disks: disks.map((disk) => disk.entry),
    };
    this.warnings = warnings.slice(0, bounds.warnings).map((warning) => printable(warning, 600));
    this.#take = disks.map((disk) => disk.take);
    this.#source = source;
  }

  async disk(index: number, directory: string, signal?: AbortSignal): Promise<ApplianceDiskFile> {
    const take = this.#take[index];
    if (take === undefined) throw new RangeError(`disk ${index} has no content`);
    return await take(directory, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }
}

import { basename } from 'node:path';
import type { ApplianceMachine } from '../../images/appliances.ts';
import type { EngineContext } from '../context.ts';
import type { MachineAppliances } from '../machines.ts';
import { requestOf } from './appliance-request.ts';
import { createMachine } from './create.ts';
import { exportMachine } from './export.ts';
import { allMachines } from './record.ts';
import { refitMachine } from './refit.ts';

/** Machines that come from and go to other hypervisors. */
export class ApplianceService implements MachineAppliances {
  readonly #ctx: EngineContext;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  async import(
    path: string,
    options: Parameters<MachineAppliances['import']>[1],
  ): Promise<{ id: string; warnings: string[] }> {
    const ctx = this.#ctx;
    const { name, hint, signal, onProgress } = options;
    await using appliance = await ctx.appliances.read(path, { hint, signal });
    const host = {
      networks: new Set(ctx.network.list().map((network) => network.name)),
      uuids: new Set(allMachines(ctx).map(({ spec }) => spec.machine.uuid)),
    };
    const origin = `${appliance.format}: ${basename(path)}`;
    const { request, warnings } = requestOf(appliance, host, origin);
    const made = await createMachine(ctx, name ?? this.#freeName(appliance.machine), request, {
      onProgress,
      signal,
      ...(options.virtio && {
        files: (directory, record) =>
          refitMachine(ctx, record, {
            directory,
            os: appliance.machine.os?.text,
            warnings,
            onProgress,
            signal,
          }),
      }),
    });
    return { id: made.id, warnings: [...appliance.warnings, ...warnings, ...made.warnings] };
  }

  export(
    id: string,
    options: Parameters<MachineAppliances['export']>[1],
  ): Promise<{ files: string[]; bytes: number }> {
    return exportMachine(this.#ctx, id, options);
  }

  /** Its old name, with a number where somebody has it. */
  #freeName(machine: ApplianceMachine): string | undefined {
    const base = nameOf(machine);
    const taken = new Set(this.#ctx.records.all().map((record) => record.name));
    if (base === undefined || !taken.has(base)) return base;
    for (let number = 2; ; number++) if (!taken.has(`${base}-${number}`)) return `${base}-${number}`;
  }
}

/** As near to its old name as one of Isle's can be; undefined: any. */
function nameOf({ name }: ApplianceMachine): string | undefined {
  const plain = name
    .normalize('NFKD')
    .replace(/[^a-zA-Z0-9_.-]+/g, '-')
    .replace(/^[^a-zA-Z0-9]+|-+$/g, '')
    .slice(0, 64);
  return plain.length >= 2 ? plain : undefined;
}

import { failpoint } from '../../lib/failpoint.ts';
import type { EngineContext } from '../context.ts';
import type { MachineDisk, MachineSpec } from '../machine.ts';
import type { MachineWork } from '../machines.ts';
import type { MachineFiles } from './create.ts';
import type { MachineRecord } from './record.ts';
import { networksOf } from '../containers/pod-network.ts';
import { nextTarget } from './targets.ts';

/** While the guest is changed, its disks can go back to how they came. */
const snapshot = 'before-virtio';

/**
 * Has a Linux guest changed so that it boots on virtio, and answers with such hardware. Where that cannot be done its disks are as they
 * came and it keeps the hardware that it knew; `warnings` are told, either way.
 */
export async function refitMachine(
  ctx: EngineContext,
  { spec }: MachineRecord,
  work: MachineWork & { directory: string; os?: string; warnings: string[] },
): Promise<MachineFiles> {
  const { machine } = spec;
  const { warnings, os = '' } = work;
  const disks = machine.disks.flatMap(({ diskId, format }) => (diskId && format === 'qcow2' ? [diskId] : []));
  if (isVirtio(machine)) return {};
  const impossible = whyNot(machine, os, disks);
  if (impossible !== undefined) {
    warnings.push(`it keeps the hardware that it knew: ${impossible}`);
    return {};
  }
  for (const id of disks) await ctx.disks.takeSnapshot(id, snapshot);
  failpoint('appliance.refit.before');
  const report = await ctx.refit({
    disks: disks.map((id) => ({ path: ctx.disks.files(id).path, size: ctx.disks.get(id).size })),
    nics: networksOf(spec).flatMap(({ endpoint }) => endpoint.macAddress ?? []),
    directory: work.directory,
    onStep: (step) => work.onProgress?.(step, 0, 0),
    signal: work.signal,
  });
  failpoint('appliance.refit.after');
  if (!report.done) for (const id of disks) await ctx.disks.revertSnapshot(id, snapshot);
  for (const id of disks) await ctx.disks.removeSnapshot(id, snapshot);
  if (!report.done) {
    warnings.push(`it keeps the hardware that it knew: ${report.why ?? 'the helper did not end its work'}`);
    return {};
  }
  warnings.push(
    report.changed.length > 0
      ? `it boots on virtio now; changed in its guest: ${report.changed.join(', ')}`
      : 'it boots on virtio now; its guest needed no change for that',
  );
  return virtioHardware(machine);
}

function isVirtio({ disks, nicModels }: MachineSpec): boolean {
  return disks.every(({ bus }) => bus === 'virtio') && nicModels.every((model) => model === 'virtio');
}

function whyNot({ arch, disks }: MachineSpec, os: string, stored: string[]): string | undefined {
  const own = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  if (arch !== own) return `its guest is for ${arch}, and is not changed on this ${own} host`;
  if (/windows|^win/i.test(os)) return 'Windows needs the drivers of virtio-win installed in it first';
  if (stored.length === 0 || stored.length < disks.length) return 'not all of its disks are in the store';
  return undefined;
}

function virtioHardware({ disks, cdroms, boot, nicModels }: MachineSpec): MachineFiles {
  const taken = new Set(cdroms.map(({ target }) => target));
  const targets = new Map(disks.map(({ target }) => [target, nextTarget('virtio', taken)]));
  return {
    disks: disks.map(
      (disk): MachineDisk => ({
        ...disk,
        controller: undefined,
        target: targets.get(disk.target)!,
        bus: 'virtio',
      }),
    ),
    boot: boot.map((target) => targets.get(target) ?? target),
    nicModels: nicModels.map(() => 'virtio'),
  };
}

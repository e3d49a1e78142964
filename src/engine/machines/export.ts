import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { ApplianceMachine } from '../../images/appliances.ts';
import { isleError } from '../../lib/errors.ts';
import { Rollback } from '../../lib/rollback.ts';
import { isRunning } from '../containers/records.ts';
import { networksOf } from '../containers/pod-network.ts';
import { machineDirOf } from '../containers/paths.ts';
import type { EngineContext } from '../context.ts';
import type { MachineDisk } from '../machine.ts';
import type { MachineAppliances } from '../machines.ts';
import { findMachine, type MachineRecord } from './record.ts';
import { checkPath } from './check-hardware.ts';

type Options = Parameters<MachineAppliances['export']>[1];

/** A disk of the store, ready to be written. */
type StoredDisk = MachineDisk & { diskId: string };

/**
 * Writes a machine that does not run as an OVA, or each of its disks in a format. Nothing is written over, and nothing is left of
 * what fails or is given up.
 */
export async function exportMachine(
  ctx: EngineContext,
  reference: string,
  options: Options,
): Promise<{ files: string[]; bytes: number }> {
  checkPath('the file to write', options.target);
  const { id } = findMachine(ctx, reference);
  // It does not start meanwhile.
  return await ctx.queue.run(id, async () => {
    const record = findMachine(ctx, id);
    const disks = exportable(record);
    const files = options.format === 'ova' ? [options.target] : targetsOf(options.target, disks);
    for (const file of files) refuseExisting(file);
    if (options.format === 'ova') await writeOva(ctx, record, disks, options);
    else await writeDisks(ctx, disks, files, { ...options, format: options.format });
    const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
    return { files, bytes: sizes.reduce((sum, size) => sum + size, 0) };
  });
}

function exportable(record: MachineRecord): StoredDisk[] {
  const { name, spec, state } = record;
  if (isRunning(state))
    throw isleError('conflict', {
      message: `the machine "${name}" runs: shut it down first (isle vm shutdown --wait ${name}), its disks are only whole then`,
    });
  if (spec.machine.saved)
    throw isleError('conflict', {
      message: `the machine "${name}" is saved in the middle of its work: start it and shut it down first, or forget what was saved (isle vm start --force-boot ${name})`,
    });
  return spec.machine.disks.map((disk) => {
    if (disk.diskId !== undefined) return { ...disk, diskId: disk.diskId };
    throw isleError('conflict', {
      message: `the disk ${disk.target} of "${name}" is your own file ${disk.path}: convert it with qemu-img, or detach it first`,
    });
  });
}

/** With several disks, each name gets that of its disk before its suffix. */
function targetsOf(target: string, disks: StoredDisk[]): string[] {
  if (disks.length === 0)
    throw isleError('invalidParameter', { message: 'the machine has no disk: export it as ova' });
  if (disks.length === 1) return [target];
  const suffix = extname(target);
  const base = target.slice(0, target.length - suffix.length);
  return disks.map((disk) => `${base}-${disk.target}${suffix}`);
}

function refuseExisting(path: string): void {
  if (existsSync(path))
    throw isleError('conflict', { message: `${path} is there already: remove it or take another name` });
}

async function writeDisks(
  ctx: EngineContext,
  disks: StoredDisk[],
  files: string[],
  { format, signal, onProgress }: Options & { format: Exclude<Options['format'], 'ova'> },
): Promise<void> {
  await using undo = new Rollback();
  for (const [index, { diskId, target }] of disks.entries()) {
    const file = files[index]!;
    await ctx.disks.export(diskId, file, {
      format,
      signal,
      onProgress: (done, total) => onProgress?.(target, done, total),
    });
    undo.add('file', () => rm(file, { force: true }));
  }
  undo.keep();
}

async function writeOva(
  ctx: EngineContext,
  record: MachineRecord,
  disks: StoredDisk[],
  { target, signal, onProgress }: Options,
): Promise<void> {
  const parent = machineDirOf(ctx, record.id);
  await mkdir(parent, { recursive: true, mode: 0o700 });
  await using undo = new Rollback();
  const directory = await mkdtemp(join(parent, 'export-'));
  undo.add('disks', () => rm(directory, { recursive: true, force: true }));
  const files = [];
  for (const disk of disks) {
    const path = join(directory, `${disk.target}.vmdk`);
    await ctx.disks.export(disk.diskId, path, {
      format: 'vmdk',
      streamOptimized: true,
      signal,
      onProgress: (done, total) => onProgress?.(disk.target, done, total),
    });
    files.push({ path, format: 'vmdk' as const, size: ctx.disks.get(disk.diskId).size });
  }
  await ctx.appliances.write(target, describe(record), files, {
    signal,
    onProgress: (done, total) => onProgress?.('ova', done, total),
  });
}

/** In the words that other hypervisors know. */
function describe({ name, spec }: MachineRecord): ApplianceMachine {
  const { machine } = spec;
  const { arch, memory, vcpus, firmware, tpm, uuid, description, osVariant } = machine;
  return {
    name,
    uuid,
    description,
    ...(osVariant && { os: { text: osVariant, variant: osVariant } }),
    arch,
    memory,
    vcpus,
    firmware,
    tpm,
    disks: [
      ...machine.disks.map((disk) => ({
        name: disk.target,
        bus: disk.bus,
        controller: disk.controller && controllers[disk.controller],
        cdrom: false,
      })),
      ...machine.cdroms.map(({ target }) => ({ name: target, bus: 'ide' as const, cdrom: true })),
    ],
    nics: networksOf(spec).map(({ network, endpoint }, index) => ({
      network,
      macAddress: endpoint.macAddress,
      model: machine.nicModels[index],
    })),
  };
}

const controllers: Record<NonNullable<MachineDisk['controller']>, string> = {
  lsi53c895a: 'lsilogic',
  mptsas1068: 'sas',
  megasas: 'sas',
  pvscsi: 'pvscsi',
};

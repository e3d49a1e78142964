import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isleError, messageOf } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import type { BackupDraft } from '../../../storage/backups/draft.ts';
import type { BackupFile, BackupManifest } from '../../../storage/backups/manifest.ts';
import type { BackupRepository } from '../../../storage/backups/repository.ts';
import { publishContainer } from '../../containers/events.ts';
import { machineDirOf } from '../../containers/paths.ts';
import { isRunning } from '../../containers/records.ts';
import type { EngineContext } from '../../context.ts';
import type { BlockDisk, MachineBlocks } from '../../machine.ts';
import type { BackupRecord, BackupRequest } from '../../machines.ts';
import { prepareMachine } from '../prepare.ts';
import { findMachine, type MachineRecord } from '../record.ts';
import { addBase, basesOf } from './bases.ts';
import { type Choice, chooseParent, isTracked } from './choose.ts';
import { recordOf } from './record.ts';
import { settingsOf } from './settings.ts';

export type TakenBackup = BackupRecord & { movedBytes: number; pausedMs: number };

/** Bytes of a kernel or initrd that are kept, and of a TPM's state. */
const mostKernel = 2 ** 30;
const mostTpm = 2 ** 20;

/**
 * Copies what a machine is to a repository. Either there is a whole backup afterwards, or nothing: a daemon that dies
 * meanwhile takes it away when it comes back ({@link recoverBackup}).
 */
export async function takeBackup(
  ctx: EngineContext,
  reference: string,
  request: BackupRequest,
): Promise<TakenBackup> {
  const { id } = findMachine(ctx, reference);
  const repository = await ctx.backups.open(request.repository, { make: true });
  return await ctx.queue.run(`backup:${id}`, async () => {
    const record = findMachine(ctx, id);
    try {
      if (isRunning(record.state)) return await backUp(ctx, record, repository, request);
      // Nobody starts, changes or removes it meanwhile.
      return await ctx.queue.run(id, async () => {
        const idle = findMachine(ctx, id);
        if (isRunning(idle.state)) throw begun(idle);
        return await backUp(ctx, idle, repository, request);
      });
    } finally {
      ctx.intents.done('backup', id);
    }
  });
}

function begun({ name }: MachineRecord): Error {
  return isleError('conflict', { message: `the machine "${name}" was started in this moment: try again` });
}

/** Its block devices: QEMU's, or those of files that nobody else has open. */
export async function openBlocks(ctx: EngineContext, record: MachineRecord): Promise<MachineBlocks> {
  const { machines } = ctx.runtimeOf(record);
  if (!machines)
    throw isleError('internal', { message: `the runtime ${record.runtimeName} runs no machines` });
  if (isRunning(record.state)) return await machines.blocks(record.id);
  return await machines.blocks(record.id, await prepareMachine(ctx, record, undefined));
}

async function backUp(
  ctx: EngineContext,
  record: MachineRecord,
  repository: BackupRepository,
  request: BackupRequest,
): Promise<TakenBackup> {
  const { id } = record;
  await using blocks = await openBlocks(ctx, record);
  const [list, devices] = await Promise.all([repository.list(), blocks.disks()]);
  const { disks } = record.spec.machine;
  const bases = basesOf(ctx, id);
  const situation = { machine: id, disks, blocks: devices, bases, repository, list };
  const choice = chooseParent(request.mode, situation);
  const plan = planOf(record, devices, choice);
  await using draft = await repository.begin(
    id,
    plan.map(({ name }) => name),
    (backup) => ctx.intents.add({ kind: 'backup', id, repository: repository.path, backup }),
  );
  try {
    const { heldMs } = await copy(blocks, draft, plan, request);
    const manifest = await complete(ctx, record, { draft, plan, choice, request });
    const mine = list.backups.filter((one) => one.machine.id === id).map((one) => one.id);
    ctx.store.transaction(() => {
      if (plan.some(({ track }) => track)) addBase(ctx, id, draft.id, mine);
      ctx.intents.done('backup', id);
      publishContainer(ctx, record, 'backup', { backup: draft.id, repository: repository.path });
    });
    await tidy(ctx, id, blocks);
    return {
      ...recordOf(manifest),
      movedBytes: [...manifest.disks, ...manifest.files].reduce((sum, { bytes }) => sum + bytes, 0),
      pausedMs: heldMs,
    };
  } catch (error) {
    // What began with the copy; of a machine that has ended it goes with its next backup. The draft goes by itself.
    await blocks.removeBitmaps([draft.id]).catch(() => undefined);
    throw error;
  }
}

/** The backup is taken, whatever becomes of this. */
async function tidy(ctx: EngineContext, id: string, blocks: MachineBlocks): Promise<void> {
  try {
    failpoint('machine.backup.recorded');
    await dropUseless(ctx, id, blocks);
  } catch (error) {
    ctx.log.warn({ container: id, err: error }, `bitmaps of earlier backups: ${messageOf(error)}`);
  }
}

interface PlannedCopy {
  target: string;
  name: string;
  size: number;
  track: boolean;
  parent?: string;
}

function planOf({ spec }: MachineRecord, devices: BlockDisk[], { parent }: Choice): PlannedCopy[] {
  const disks = spec.machine.disks.map((disk): PlannedCopy => {
    const { target } = disk;
    const device = devices.find((one) => one.target === target);
    if (!device)
      throw isleError('internal', { message: `the disk ${target} is not among the machine's devices` });
    const track = isTracked(disk);
    const plan = { target, name: `${target}.qcow2`, size: device.size, track };
    return track && parent ? { ...plan, parent: parent.id } : plan;
  });
  const nvram = devices.find(({ target }) => target === 'nvram');
  return nvram ? [...disks, { target: 'nvram', name: 'nvram.qcow2', size: nvram.size, track: false }] : disks;
}

async function copy(
  blocks: MachineBlocks,
  draft: BackupDraft,
  plan: PlannedCopy[],
  { quiesce, signal, onProgress }: BackupRequest,
): Promise<{ heldMs: number }> {
  if (plan.length === 0) return { heldMs: 0 };
  return await blocks.copy({
    next: draft.id,
    quiesce,
    signal,
    onProgress: (done, total) => onProgress?.(done, total),
    disks: plan.map(({ target, name, size, track, parent }) => ({
      target,
      file: draft.pathOf(name),
      size,
      track,
      ...(parent && { since: { bitmap: parent, backing: `../${parent}/${name}` } }),
    })),
  });
}

async function complete(
  ctx: EngineContext,
  record: MachineRecord,
  {
    draft,
    plan,
    choice,
    request,
  }: { draft: BackupDraft; plan: PlannedCopy[]; choice: Choice; request: BackupRequest },
): Promise<BackupManifest> {
  const { id, name, state } = record;
  const sealed = [];
  for (const { target, name: file, size, parent } of plan)
    sealed.push(
      await draft.sealDisk({ target, name: file, virtual: size, ...(parent && { parent }) }, request.signal),
    );
  const files = await copyFiles(ctx, record, draft);
  const incremental = sealed.some(({ increment }) => increment);
  const manifest: BackupManifest = {
    id: draft.id,
    createdAt: draft.createdAt,
    mode: incremental ? 'incremental' : 'full',
    ...(choice.reason !== undefined && { reason: choice.reason.slice(0, 1000) }),
    ...(incremental && choice.parent && { parent: choice.parent.id }),
    // Of one that does not run nothing is under way.
    quiesced: request.quiesce || !isRunning(state),
    machine: { id, name },
    disks: sealed,
    files,
    settings: settingsOf(record),
  };
  request.signal.throwIfAborted();
  await draft.keep(manifest);
  return manifest;
}

/** What else the machine is: its TPM's state, and the kernel that it boots. */
async function copyFiles(
  ctx: EngineContext,
  { id, spec }: MachineRecord,
  draft: BackupDraft,
): Promise<BackupFile[]> {
  const { tpm, kernel } = spec.machine;
  const files: BackupFile[] = [];
  const directory = machineDirOf(ctx, id);
  if (tpm)
    for (const name of await namesIn(join(directory, 'tpm')))
      files.push(await draft.copy(directory, `tpm/${name}`, `tpm/${name}`, mostTpm));
  const boot: [string, string | undefined][] = [
    ['kernel', kernel?.path],
    ['initrd', kernel?.initrd],
  ];
  for (const [name, path] of boot)
    if (path !== undefined)
      files.push(await draft.copy('/', (await realpath(path)).slice(1), name, mostKernel));
  return files;
}

async function namesIn(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile() && /^tpm2-[\w.-]+$/.test(entry.name))
      .map(({ name }) => name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Bitmaps of backups that no increment can stand on any more. */
export async function dropUseless(ctx: EngineContext, id: string, blocks: MachineBlocks): Promise<void> {
  const { ids } = basesOf(ctx, id);
  const there = (await blocks.disks()).flatMap(({ bitmaps }) => bitmaps.map(({ name }) => name));
  const useless = [...new Set(there)].filter((name) => !ids.includes(name));
  if (useless.length > 0) await blocks.removeBitmaps(useless);
}

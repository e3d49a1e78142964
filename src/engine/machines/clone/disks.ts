import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import type { Rollback } from '../../../lib/rollback.ts';
import { copyImage, fileSnapshots } from '../../../storage/disks/file-snapshots.ts';
import { machineDirOf } from '../../containers/paths.ts';
import { isRunning } from '../../containers/records.ts';
import type { EngineContext } from '../../context.ts';
import type { MachineDisk } from '../../machine.ts';
import { forgetBackups } from '../backups/bases.ts';
import { dropDisk, newDiskId } from '../disks.ts';
import { hardwareOf } from '../moment.ts';
import { controlOf, findMachine, type MachineRecord } from '../record.ts';
import { isOwnFile, nvramOf } from '../snapshots/disk-snapshots.ts';
import { findSnapshot } from '../snapshots/names.ts';
import { finishSnapshot } from '../snapshots/recover.ts';

/** A disk of the source, and the id in the store of the clone's. */
export interface DiskPair {
  disk: MachineDisk;
  /** Absent: both read the same file of the user's. */
  to?: string;
}

/** Throws `conflict` for what cannot be cloned in that way. */
export function planDisks(
  ctx: EngineContext,
  source: MachineRecord,
  { name, linked, snapshot }: { name: string; linked: boolean; snapshot?: string },
): DiskPair[] {
  const { disks } =
    snapshot === undefined ? hardwareOf(source.spec.machine) : findSnapshot(source, snapshot).hardware;
  const users = disks.filter(({ path, readOnly }) => path !== undefined && !readOnly);
  if (users.length > 0 && (linked || snapshot !== undefined || isRunning(source.state)))
    throw isleError('conflict', {
      message: `${users.map(({ target, path }) => `disk ${target} (${path})`).join(', ')} is a file of yours: shut the machine down and make a full clone as it is now`,
    });
  return disks.map((disk) =>
    disk.path !== undefined && disk.readOnly ? { disk } : { disk, to: newDiskId(ctx, { name }, disk.target) },
  );
}

export async function copyDisks(
  ctx: EngineContext,
  source: MachineRecord,
  id: string,
  pairs: DiskPair[],
  { linked, snapshot }: { linked: boolean; snapshot?: string },
  undo: Rollback,
): Promise<void> {
  for (const { to } of pairs) if (to !== undefined) undo.add('disk', () => dropDisk(ctx, to));
  if (linked) await cloneLinked(ctx, source.id, pairs);
  else if (snapshot === undefined && isRunning(findMachine(ctx, source.id).state))
    await throughSnapshot(ctx, source.id, (name) => cloneFull(ctx, source, id, pairs, name));
  // Nobody starts it meanwhile.
  else await ctx.queue.run(source.id, () => cloneFull(ctx, source, id, pairs, snapshot));
  if (linked) await cloneNvram(ctx, source, id, undefined);
  for (const { to } of pairs) if (to !== undefined) ctx.disks.claim(to, id);
}

/** All disks at one moment: of a machine that runs, its QEMU moves them. */
async function cloneLinked(ctx: EngineContext, id: string, pairs: DiskPair[]): Promise<void> {
  const clones = pairs.flatMap(({ disk, to }) =>
    disk.diskId === undefined || to === undefined ? [] : [{ id: to, source: disk.diskId }],
  );
  await ctx.queue.run(id, async () => {
    const { state, spec, name } = findMachine(ctx, id);
    // What they know of changes stays in the files that are only read from now on.
    forgetBackups(ctx, id, `the disks of ${name} went on in new files when a linked clone was made`);
    if (!isRunning(state)) return await ctx.disks.cloneLinked(clones);
    const { control } = controlOf(ctx, id);
    const targets = new Map(spec.machine.disks.map(({ diskId, target }) => [diskId, target]));
    ctx.intents.add({ kind: 'machine-pivot', id });
    try {
      await ctx.disks.cloneLinked(clones, (overlays) =>
        control.pivotDisks(
          id,
          overlays.map(({ source, path, chain }) => ({ target: targets.get(source) ?? '', path, chain })),
        ),
      );
    } finally {
      ctx.intents.done('machine-pivot', id);
    }
    return undefined;
  });
  failpoint('machine.clone.linked');
}

async function cloneFull(
  ctx: EngineContext,
  source: MachineRecord,
  id: string,
  pairs: DiskPair[],
  snapshot: string | undefined,
): Promise<void> {
  if (snapshot === undefined && isRunning(findMachine(ctx, source.id).state))
    throw isleError('conflict', { message: `the machine "${source.name}" was started meanwhile: try again` });
  for (const { disk, to } of pairs) {
    if (to === undefined) continue;
    if (disk.diskId === undefined)
      await ctx.disks.import(to, { source: disk.path ?? '', format: disk.format, keep: disk.format });
    // What is only read is not in snapshots.
    else
      await ctx.disks.clone(to, disk.diskId, {
        linked: false,
        ...(!disk.readOnly && snapshot !== undefined && { snapshot }),
      });
    failpoint('machine.clone.disk');
  }
  await cloneNvram(ctx, source, id, snapshot);
}

/** Of one that runs: a snapshot of all disks that is there only as long as it is copied. */
async function throughSnapshot(
  ctx: EngineContext,
  id: string,
  copy: (name: string) => Promise<void>,
): Promise<void> {
  const name = `clone-${randomBytes(6).toString('hex')}`;
  const { control } = controlOf(ctx, id);
  await ctx.queue.run(id, async () => {
    ctx.intents.add({ kind: 'machine-snapshot', id, name, work: 'take' });
    await control.takeSnapshot(id, name, { memory: false, quiesce: false });
    failpoint('machine.clone.frozen');
  });
  try {
    await copy(name);
  } finally {
    await finishSnapshot(ctx, id);
  }
}

/** Bytes of the guest's: OVMF's largest has 4 MiB, aarch64's 64 MiB. */
const largestNvram = 64 * 1024 * 1024;

/** The boot entries go along; nothing of who it is is in them. One without makes its own at its first start. */
async function cloneNvram(
  ctx: EngineContext,
  { id: source, spec }: MachineRecord,
  id: string,
  snapshot: string | undefined,
): Promise<void> {
  const from = nvramOf(ctx, source);
  if (spec.machine.firmware === 'bios' || !isOwnFile(from)) return;
  const named = snapshot !== undefined && fileSnapshots(from).includes(snapshot) ? { snapshot } : {};
  const copy = (options: object) =>
    copyImage(from, join(machineDirOf(ctx, id), 'nvram.qcow2'), { size: largestNvram, ...options });
  if ('snapshot' in named || !isRunning(findMachine(ctx, source).state)) await copy(named);
  else await throughSnapshot(ctx, source, (name) => copy({ snapshot: name }));
}

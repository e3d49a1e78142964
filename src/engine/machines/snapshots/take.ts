import { isIsleError, isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { publishContainer } from '../../containers/events.ts';
import { isRunning } from '../../containers/records.ts';
import type { EngineContext } from '../../context.ts';
import { explainFull } from '../../disk-full.ts';
import type { MachineHardwareSpec, MachineSnapshot } from '../../machine.ts';
import { now } from '../../time.ts';
import { snapshotQueue } from '../../snapshots/take.ts';
import { endpointsOf, hardwareOf } from '../moment.ts';
import { changeMachine, controlOf, findMachine, type MachineRecord } from '../record.ts';
import { removeFromDisks, takeOfDisks } from './disk-snapshots.ts';
import { nameForSnapshot } from './names.ts';
import { finishSnapshot } from './recover.ts';
import { copyTpm } from './tpm.ts';

export interface TakeOptions {
  name?: string;
  comment: string;
  memory: boolean;
  quiesce: boolean;
}

/** All disks, NVRAM and TPM as of one moment. Of a machine that is off there is no memory, asked for or not. */
export async function takeSnapshot(
  ctx: EngineContext,
  reference: string,
  options: TakeOptions,
): Promise<MachineSnapshot & { pausedMs: number }> {
  const { id } = findMachine(ctx, reference);
  return await ctx.queue.run(snapshotQueue(id), async () => {
    await finishSnapshot(ctx, id);
    return await ctx.queue.run(id, () => takeNow(ctx, findMachine(ctx, id), options));
  });
}

/** The caller holds the machine's queues. */
async function takeNow(
  ctx: EngineContext,
  record: MachineRecord,
  { name: asked, comment, memory, quiesce }: TakeOptions,
): Promise<MachineSnapshot & { pausedMs: number }> {
  const { id } = record;
  if (record.state.phase === 'paused')
    throw isleError('conflict', {
      message: `the machine "${record.name}" is suspended, and cannot be asked for a snapshot: resume it first`,
    });
  refuseHalfReverted(ctx, record);
  const name = nameForSnapshot(record, asked);
  const live = isRunning(record.state);
  ctx.intents.add({ kind: 'machine-snapshot', id, name, work: 'take' });
  failpoint('machine.snapshot.before');
  try {
    const { pausedMs, hardware } = live
      ? await takeLive(ctx, record, name, { memory, quiesce })
      : await takeIdle(ctx, record, name);
    failpoint('machine.snapshot.after');
    const snapshot: MachineSnapshot = {
      name,
      comment,
      createdAt: now(),
      parent: record.spec.machine.currentSnapshot,
      memory: live && memory,
      hardware,
      ...(live && memory && { endpoints: endpointsOf(ctx, id) }),
    };
    ctx.store.transaction(() => {
      changeMachine(ctx, id, (machine) => ({
        ...machine,
        snapshots: [...machine.snapshots, snapshot],
        currentSnapshot: name,
      }));
      ctx.intents.done('machine-snapshot', id);
      publishContainer(ctx, record, 'snapshot-create', { snapshot: name });
    });
    return { ...snapshot, pausedMs };
  } catch (error) {
    // What the answer does not tell of must not be there; when that fails too, it is tried again before the next one.
    if (!live) await undoTake(ctx, record, name);
    // Said before anything was there, or after it was taken back. Of what else it died the next one finds out.
    else if (isIsleError(error, 'conflict', 'invalidParameter', 'guestFailed', 'guestAgentMissing'))
      ctx.intents.done('machine-snapshot', id);
    throw explainFull(ctx, error, `taking a snapshot of machine ${record.name}`);
  }
}

interface Taken {
  pausedMs: number;
  hardware: MachineHardwareSpec;
}

async function takeLive(
  ctx: EngineContext,
  { id, spec }: MachineRecord,
  name: string,
  options: { memory: boolean; quiesce: boolean },
): Promise<Taken> {
  const { control } = controlOf(ctx, id);
  const { pausedMs, hardware } = await control.takeSnapshot(id, name, options);
  try {
    await copyTpm(ctx, { id, hardware: spec.machine }, name);
  } catch (error) {
    await control.removeSnapshot(id, name);
    throw error;
  }
  return { pausedMs, hardware: hardwareOf({ snapshots: [], ...hardware }) };
}

async function takeIdle(ctx: EngineContext, { id, spec }: MachineRecord, name: string): Promise<Taken> {
  await takeOfDisks(ctx, { id, hardware: spec.machine }, name);
  return { pausedMs: 0, hardware: hardwareOf(spec.machine) };
}

async function undoTake(ctx: EngineContext, { id, spec }: MachineRecord, name: string): Promise<void> {
  try {
    await removeFromDisks(ctx, { id, hardware: spec.machine }, name);
    ctx.intents.done('machine-snapshot', id);
  } catch (error) {
    ctx.log.warn({ machine: id, snapshot: name, err: error }, 'a snapshot that failed is still on a disk');
  }
}

/** Some of its disks are those of the snapshot, some not: nothing but going back again makes sense. */
export function refuseHalfReverted(
  ctx: Pick<EngineContext, 'intents'>,
  { id, name }: Pick<MachineRecord, 'id' | 'name'>,
): void {
  const revert = ctx.intents.get('machine-revert', id);
  if (revert?.disks === 'before')
    throw isleError('conflict', {
      message: `the machine "${name}" went only half of the way back to its snapshot "${revert.name}": try again with "isle vm snapshot-revert ${name} ${revert.name}"`,
    });
}

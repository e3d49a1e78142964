import { isDeepStrictEqual } from 'node:util';
import { isleError } from '../../lib/errors.ts';
import { publishContainer } from '../containers/events.ts';
import { isRunning } from '../containers/records.ts';
import type { EngineContext } from '../context.ts';
import type { MachineSpec } from '../machine.ts';
import type { MachineChange } from '../machines.ts';
import { checkHardware } from './check-hardware.ts';
import { changeMachine, findMachine } from './record.ts';
import { cdTargets } from './targets.ts';
import { checkUserFiles } from './user-files.ts';

/** What nobody but people reads: it is changed when it is changed. */
const words = new Set(['description', 'osVariant', 'origin']);

/** All or nothing. Fields that are undefined are taken away. Returns what a running machine has at its next start only. */
export async function editMachine(
  ctx: EngineContext,
  reference: string,
  wanted: MachineChange,
): Promise<{ atNextStart: string[] }> {
  const { id } = findMachine(ctx, reference);
  return await ctx.queue.run(id, async () => {
    const record = findMachine(ctx, id);
    const before = record.spec.machine;
    const change = withCdTargets(before, wanted);
    const after: MachineSpec = { ...before, ...change };
    const changed = (Object.keys(change) as (keyof MachineChange)[]).filter(
      (name) => !isDeepStrictEqual(before[name], after[name]),
    );
    if (changed.length === 0) return { atNextStart: [] };
    const hardware = changed.filter((name) => !words.has(name));
    if (before.saved && hardware.length > 0)
      throw isleError('conflict', {
        message: `the machine "${record.name}" is saved with the hardware it has: start it first, or forget what was saved (isle vm start --force-boot ${record.name})`,
      });
    checkHardware(after);
    await checkUserFiles(ctx, {
      kernel: changed.includes('kernel') ? after.kernel : undefined,
      cdroms: changed.includes('cdroms') ? after.cdroms : [],
      shares: changed.includes('shares') ? after.shares : [],
    });
    ctx.store.transaction(() =>
      publishContainer(
        ctx,
        // Its snapshots may have changed meanwhile.
        changeMachine(ctx, id, (machine) => ({ ...machine, ...change })),
        'update',
      ),
    );
    return { atNextStart: isRunning(record.state) ? hardware : [] };
  });
}

function withCdTargets(before: MachineSpec, change: MachineChange): MachineChange {
  if (change.cdroms === undefined) return change;
  const type = change.type ?? before.type;
  return { ...change, cdroms: cdTargets(type, change.cdroms, before.disks) };
}

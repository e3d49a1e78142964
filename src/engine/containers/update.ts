import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { Resources, RestartPolicy } from '../model.ts';
import { checkOwnKernelLimits } from './check-isolation.ts';
import { checkResources, checkRestartPolicy } from './check-spec.ts';
import { checkMachineLimits } from '../machines/check-container.ts';
import { publishContainer } from './events.ts';
import { isRunning } from './records.ts';

/** Limits that are not named stay as they are. All or nothing. */
export async function updateContainer(
  ctx: EngineContext,
  reference: string,
  change: { resources: Resources; restartPolicy?: RestartPolicy },
): Promise<{ warnings: string[] }> {
  const { id } = ctx.records.find(reference);
  return await ctx.queue.run(id, async () => {
    const record = ctx.records.find(id);
    if (record.state.phase === 'removing' || record.state.phase === 'dead')
      throw isleError('conflict', {
        message: `Container ${id} is marked for removal and cannot be "update".`,
      });
    const asked = definedOf(change.resources);
    if (record.spec.machine) checkMachineLimits(asked);
    const resources = { ...record.spec.resources, ...asked };
    // `--memory` alone above the swap limit in force cannot be meant; the check says what to give too.
    const warnings = checkResources(resources);
    if (change.restartPolicy) checkRestartPolicy(change.restartPolicy, record.spec.autoRemove);
    if (ctx.runtimes.get(record.runtimeName)?.traits.ownKernel)
      checkOwnKernelLimits(record.runtimeName, asked);
    if (isRunning(record.state) && Object.keys(asked).length > 0)
      await ctx.runtimeOf(record).update(id, asked);
    ctx.store.transaction(() => {
      const spec = {
        ...record.spec,
        resources,
        restartPolicy: change.restartPolicy ?? record.spec.restartPolicy,
      };
      publishContainer(
        ctx,
        ctx.records.change(id, () => ({ spec })),
        'update',
      );
    });
    return { warnings };
  });
}

function definedOf(resources: Resources): Resources {
  return Object.fromEntries(Object.entries(resources).filter(([, value]) => value !== undefined));
}

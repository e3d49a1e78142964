import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import { publishContainer } from './events.ts';
import { ownsPod } from './pod-network.ts';
import { isRunning } from './records.ts';

export async function renameContainer(ctx: EngineContext, reference: string, name: string): Promise<void> {
  const { id } = ctx.records.find(reference);
  if (name.replace(/^\//, '') === '')
    throw isleError('invalidParameter', { message: 'Neither old nor new names may be empty' });
  await ctx.queue.run(id, async () => {
    const before = ctx.records.find(id);
    if (before.name === name.replace(/^\//, ''))
      throw isleError('invalidParameter', {
        message: 'Renaming a container with the same name as its current name',
      });
    const reserved = ctx.records.reserve(name, id);
    const after = ctx.store.transaction(() => {
      const changed = ctx.records.change(id, () => ({ name: reserved }));
      publishContainer(ctx, changed, 'rename', { oldName: `/${before.name}` });
      return changed;
    });
    ctx.records.release(before.name, id);
    if (isRunning(after.state) && ownsPod(after)) ctx.network.rename(id, reserved);
  });
}

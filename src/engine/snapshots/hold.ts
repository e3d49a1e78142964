import { failpoint } from '../../lib/failpoint.ts';
import { publishContainer } from '../containers/events.ts';
import type { ContainerRecord } from '../containers/record.ts';
import type { EngineContext } from '../context.ts';

/**
 * Does `work` while nothing in the container runs, nobody starts it and nobody pauses or wakes it. Returns for how many
 * milliseconds it was frozen: 0 for one that did not run. It goes on whatever happens to `work`; a daemon that dies in
 * between lets it go on when it comes back ({@link letGo}).
 */
export async function held(ctx: EngineContext, id: string, work: () => Promise<void>): Promise<number> {
  return await ctx.queue.run(id, async () => {
    const record = ctx.records.find(id);
    if (record.state.phase !== 'running') {
      await work();
      return 0;
    }
    const runtime = ctx.runtimeOf(record);
    ctx.intents.add({ kind: 'hold', id });
    failpoint('engine.hold.before');
    const started = performance.now();
    try {
      await runtime.pause(id);
    } catch (error) {
      ctx.intents.done('hold', id);
      throw error;
    }
    try {
      failpoint('engine.hold.after');
      await work();
    } finally {
      await goOn(ctx, record);
    }
    const paused = performance.now() - started;
    failpoint('engine.hold.released');
    return paused;
  });
}

async function goOn(ctx: EngineContext, { id, state, ...record }: ContainerRecord): Promise<void> {
  try {
    await ctx.runtimeOf(record).resume(id);
    ctx.intents.done('hold', id);
  } catch (error) {
    // Killed meanwhile: its end is dealt with after this.
    if (!isAlive(state.pid)) return ctx.intents.done('hold', id);
    // Whoever looks must see it, and be able to wake it.
    ctx.store.transaction(() => {
      ctx.intents.done('hold', id);
      publishContainer(ctx, ctx.records.changeState(id, { phase: 'paused' }), 'pause');
    });
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** After a restart of the daemon: a container that was held when the last one died goes on. */
export async function letGo(ctx: EngineContext, id: string): Promise<void> {
  const record = ctx.records.get(id);
  if (record?.state.phase === 'paused') {
    await ctx.runtimeOf(record).resume(id);
    ctx.records.changeState(id, { phase: 'running' });
  }
  ctx.intents.done('hold', id);
}

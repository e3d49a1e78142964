import { publishContainer } from '../containers/events.ts';
import type { EngineContext } from '../context.ts';
import { controlOf, findMachine } from './record.ts';

export interface MigrateOptions {
  signal: AbortSignal;
  /** Bytes of memory. */
  onProgress?(done: number, total: number): void;
}

/** Into a new QEMU process under the running guest; no backup is taken, and nothing else done to it, meanwhile. */
export async function migrateMachine(
  ctx: EngineContext,
  reference: string,
  options: MigrateOptions,
): Promise<{ pausedMs: number; qemuVersion: string }> {
  const { id } = findMachine(ctx, reference);
  return await ctx.queue.run(`backup:${id}`, () =>
    ctx.queue.run(id, async () => {
      const { record, control } = controlOf(ctx, id);
      const { pausedMs } = await control.migrate(id, options);
      publishContainer(ctx, record, 'migrate', { pausedMs: String(Math.round(pausedMs)) });
      const { qemuVersion } = await control.info(id);
      return { pausedMs, qemuVersion };
    }),
  );
}

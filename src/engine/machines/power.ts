import { publishContainer } from '../containers/events.ts';
import type { EngineContext } from '../context.ts';
import { controlOf } from './record.ts';

/** Asks the guest, or does it: returns when that is said, not when it is done. Throws `notRunning`. */
export async function powerMachine(
  ctx: EngineContext,
  reference: string,
  action: 'shutdown' | 'reboot' | 'reset',
): Promise<void> {
  const { record, control } = controlOf(ctx, reference);
  await control[action](record.id);
  publishContainer(ctx, ctx.records.get(record.id) ?? record, action);
}

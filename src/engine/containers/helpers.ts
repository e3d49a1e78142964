import type { EngineContext } from '../context.ts';
import { watchHealth } from './health.ts';
import type { LiveContainer } from './live.ts';
import { watchLog } from './log-rotation.ts';
import type { ContainerRecord } from './record.ts';

/** What goes along with a running container and ends with it. */
export function startHelpers(ctx: EngineContext, record: ContainerRecord, live: LiveContainer): void {
  if (record.healthcheck) live.onEnd(watchHealth(ctx, record));
  const stopLog = watchLog(ctx, record);
  if (stopLog) live.onEnd(stopLog);
}

import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { LogEntry, LogOptions } from '../engine.ts';
import { logPathOf } from './paths.ts';
import { isRunning } from './records.ts';

export function readLogs(
  ctx: EngineContext,
  reference: string,
  options: LogOptions,
  signal: AbortSignal,
): AsyncIterable<LogEntry> {
  const { id, spec, state } = ctx.records.find(reference);
  if (spec.logConfig.driver === 'none')
    throw isleError('invalidParameter', { message: 'configured logging driver does not support reading' });
  const follow = options.follow && (isRunning(state) || state.phase === 'restarting');
  const ended = follow ? endOf(ctx, id, signal) : Promise.resolve();
  return ctx.readLog(logPathOf(ctx, id), { ...options, follow, ended }, signal);
}

/** When nothing more will come: the container is down and its policy does not bring it up again. */
async function endOf(ctx: EngineContext, id: string, signal: AbortSignal): Promise<void> {
  const record = ctx.records.get(id);
  if (!record) return;
  if (!isRunning(record.state) && record.state.phase !== 'restarting') return;
  await ctx.waiters.add(id, 'not-running', signal).catch(() => {});
}

import { readFile } from 'node:fs/promises';
import type { EngineContext } from '../context.ts';
import type { ContainerStats } from '../engine.ts';
import { isRunning } from './records.ts';

/** Nanoseconds in one of the kernel's clock ticks (USER_HZ is 100 on every architecture Isle runs on). */
const tick = 10_000_000;

export async function containerStats(
  ctx: EngineContext,
  reference: string,
): Promise<ContainerStats | undefined> {
  const record = ctx.records.find(reference);
  if (!isRunning(record.state)) return undefined;
  const [runtime, networks, host] = await Promise.all([
    ctx.runtimeOf(record).stats(record.id),
    ctx.network.attachment(record.podId) ? ctx.network.stats(record.podId) : {},
    readFile('/proc/stat', 'utf8'),
  ]);
  return { id: record.id, name: record.name, runtime, networks, ...parseProcStat(host) };
}

/** The host's CPU time (user to steal; guest time is in user already) and its processors, from /proc/stat. */
export function parseProcStat(text: string): { systemCpuUsage: number; onlineCpus: number } {
  const lines = text.split('\n');
  const total = lines.find((line) => line.startsWith('cpu ')) ?? '';
  const ticks = total.trim().split(/\s+/).slice(1, 9).map(Number);
  return {
    systemCpuUsage: ticks.reduce((sum, value) => sum + value, 0) * tick,
    onlineCpus: lines.filter((line) => /^cpu\d/.test(line)).length,
  };
}

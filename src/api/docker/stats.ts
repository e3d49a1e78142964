import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerStats, Engine } from '../../engine/engine.ts';
import { zeroTime } from '../../engine/model.ts';
import type { BlkioEntry, RuntimeStats } from '../../engine/runtime.ts';
import type { InterfaceStats } from '../../network/network.ts';
import type { Call, Route } from '../http/call.ts';
import { write } from '../http/output.ts';
import { json, type Reply } from '../http/reply.ts';

/** milliseconds between two samples */
const interval = 1000;

export function statsRoutes(engine: Engine): Route[] {
  return [{ method: 'GET', path: '/containers/:id/stats', handle: (call) => stats(engine, call) }];
}

async function stats(engine: Engine, call: Call): Promise<Reply> {
  const { id, name } = engine.containers.get(call.param('id'));
  const { signal } = call;
  const sample = async (): Promise<ContainerStats | undefined> => await engine.containers.stats(id);
  if (!call.query.flag('stream', true)) {
    const first = await sample();
    if (!first || call.query.flag('one-shot')) return json(renderStats(id, name, first, undefined));
    await sleep(interval, undefined, { signal });
    return json(renderStats(id, name, await sample(), first));
  }
  const response = call.stream('application/json');
  let previous: ContainerStats | undefined;
  try {
    while (!signal.aborted) {
      const current = await sample();
      await write(response, `${JSON.stringify(renderStats(id, name, current, previous))}\n`, signal);
      previous = current;
      await sleep(interval, undefined, { signal });
    }
  } catch (error) {
    // The container was removed: that is the end of its numbers.
    if (!signal.aborted && !gone(engine, id)) throw error;
  }
  response.end();
  return 'taken';
}

function gone(engine: Engine, id: string): boolean {
  return !engine.containers.list().some((container) => container.id === id);
}

/** A container that does not run has its names and zeroes. */
export function renderStats(
  id: string,
  name: string,
  current: ContainerStats | undefined,
  previous: ContainerStats | undefined,
): object {
  return {
    name: `/${name}`,
    id,
    read: current?.runtime.readAt ?? zeroTime,
    preread: previous?.runtime.readAt ?? zeroTime,
    pids_stats: renderPids(current?.runtime),
    blkio_stats: {
      io_service_bytes_recursive: current?.runtime.blkio.serviceBytes.map(renderBlkio) ?? null,
      io_serviced_recursive: current?.runtime.blkio.serviced.map(renderBlkio) ?? null,
      io_queue_recursive: null,
      io_service_time_recursive: null,
      io_wait_time_recursive: null,
      io_merged_recursive: null,
      io_time_recursive: null,
      sectors_recursive: null,
    },
    num_procs: 0,
    storage_stats: {},
    cpu_stats: renderCpu(current),
    precpu_stats: renderCpu(previous),
    memory_stats: renderMemory(current?.runtime),
    ...(current && {
      networks: Object.fromEntries(
        Object.entries(current.networks).map(([key, value]) => [key, renderInterface(value)]),
      ),
    }),
  };
}

function renderPids(runtime: RuntimeStats | undefined): object {
  if (!runtime) return {};
  const { current, limit } = runtime.pids;
  return { current, ...(limit > 0 && Number.isSafeInteger(limit) && { limit }) };
}

function renderBlkio(entry: BlkioEntry): object {
  return { major: entry.major, minor: entry.minor, op: entry.op, value: entry.value };
}

function renderCpu(stats: ContainerStats | undefined): object {
  const cpu = stats?.runtime.cpu;
  return {
    cpu_usage: {
      total_usage: cpu?.total ?? 0,
      usage_in_kernelmode: cpu?.system ?? 0,
      usage_in_usermode: cpu?.user ?? 0,
    },
    ...(stats && { system_cpu_usage: stats.systemCpuUsage, online_cpus: stats.onlineCpus }),
    throttling_data: {
      periods: cpu?.throttled.periods ?? 0,
      throttled_periods: cpu?.throttled.throttledPeriods ?? 0,
      throttled_time: cpu?.throttled.throttledTime ?? 0,
    },
  };
}

function renderMemory(runtime: RuntimeStats | undefined): object {
  if (!runtime) return {};
  const { usage, max, limit, failcnt, stats } = runtime.memory;
  return {
    usage,
    ...(max !== undefined && { max_usage: max }),
    stats,
    ...(failcnt !== undefined && { failcnt }),
    limit,
  };
}

function renderInterface(stats: InterfaceStats): object {
  return {
    rx_bytes: stats.rxBytes,
    rx_packets: stats.rxPackets,
    rx_errors: stats.rxErrors,
    rx_dropped: stats.rxDropped,
    tx_bytes: stats.txBytes,
    tx_packets: stats.txPackets,
    tx_errors: stats.txErrors,
    tx_dropped: stats.txDropped,
  };
}

import { formatBinaryBytes, formatBytes } from '../../lib/units.ts';
import type { ListColumn } from '../list-output.ts';
import type { Paint } from '../terminal/paint.ts';
import { shortened } from '../words.ts';

/** The parts of a stats answer that the table shows. */
export interface StatsAnswer {
  id?: string;
  name?: string;
  read: string;
  cpu_stats?: CpuStats;
  precpu_stats?: CpuStats;
  memory_stats?: { usage?: number; limit?: number; stats?: Record<string, number> };
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }> | null;
  blkio_stats?: { io_service_bytes_recursive?: { op: string; value: number }[] | null };
  pids_stats?: { current?: number };
}

interface CpuStats {
  cpu_usage?: { total_usage?: number; percpu_usage?: number[] | null };
  system_cpu_usage?: number;
  online_cpus?: number;
}

export interface Sample {
  /** As asked for. */
  container: string;
  id: string;
  name: string;
  isolation?: string;
  /** Undefined while nothing is known: it does not run, or no answer came yet. */
  usage?: {
    cpu: number;
    memory: number;
    limit: number;
    received: number;
    sent: number;
    read: number;
    written: number;
    pids: number;
  };
}

export function toSample(container: string, answer: StatsAnswer): Sample {
  const name = (answer.name ?? container).replace(/^\//, '');
  const id = answer.id ?? container;
  if (answer.memory_stats?.usage === undefined && (answer.cpu_stats?.cpu_usage?.total_usage ?? 0) === 0)
    return { container, id, name };
  const networks = Object.values(answer.networks ?? {});
  const io = answer.blkio_stats?.io_service_bytes_recursive ?? [];
  const ofKind = (letter: string) =>
    io.filter(({ op }) => op.toLowerCase().startsWith(letter)).reduce((sum, { value }) => sum + value, 0);
  return {
    container,
    id,
    name,
    usage: {
      cpu: cpuPercent(answer),
      memory: memoryUsed(answer),
      limit: answer.memory_stats?.limit ?? 0,
      received: networks.reduce((sum, one) => sum + one.rx_bytes, 0),
      sent: networks.reduce((sum, one) => sum + one.tx_bytes, 0),
      read: ofKind('r'),
      written: ofKind('w'),
      pids: answer.pids_stats?.current ?? 0,
    },
  };
}

/** Percent of one CPU, as docker stats counts it. */
export function cpuPercent({ cpu_stats: now, precpu_stats: before }: StatsAnswer): number {
  const used = (now?.cpu_usage?.total_usage ?? 0) - (before?.cpu_usage?.total_usage ?? 0);
  const system = (now?.system_cpu_usage ?? 0) - (before?.system_cpu_usage ?? 0);
  const cpus = now?.online_cpus || now?.cpu_usage?.percpu_usage?.length || 1;
  return system > 0 && used > 0 ? (used / system) * cpus * 100 : 0;
}

/** Without the file cache that the kernel would give back (v1: total_inactive_file, v2: inactive_file). */
export function memoryUsed({ memory_stats: memory }: StatsAnswer): number {
  const usage = memory?.usage ?? 0;
  const cache = memory?.stats?.total_inactive_file ?? memory?.stats?.inactive_file ?? 0;
  return cache < usage ? usage - cache : usage;
}

const percent = (value: number) => `${value.toFixed(2)}%`;

export function statsFields(
  { container, id, name, isolation, usage }: Sample,
  full: boolean,
): Record<string, string> {
  const none = '--';
  return {
    Container: container === id ? shortened(id, full) : container,
    Name: name || none,
    ID: shortened(id, full),
    Isolation: isolation || none,
    CPUPerc: usage ? percent(usage.cpu) : none,
    MemUsage: usage
      ? `${formatBinaryBytes(usage.memory)} / ${formatBinaryBytes(usage.limit)}`
      : `${none} / ${none}`,
    MemPerc: usage && usage.limit > 0 ? percent((usage.memory / usage.limit) * 100) : none,
    NetIO: usage ? `${formatBytes(usage.received)} / ${formatBytes(usage.sent)}` : none,
    BlockIO: usage ? `${formatBytes(usage.read)} / ${formatBytes(usage.written)}` : none,
    PIDs: usage ? String(usage.pids) : none,
  };
}

export function statsColumns(paint: Paint, full: boolean): ListColumn<Sample>[] {
  const field = (name: string) => (row: Sample) => statsFields(row, full)[name]!;
  const hot = (row: Sample) => ((row.usage?.cpu ?? 0) > 90 ? paint.yellow : String);
  const tight = (row: Sample) =>
    row.usage && row.usage.limit > 0 && row.usage.memory / row.usage.limit > 0.9 ? paint.red : String;
  return [
    { title: 'CONTAINER ID', cell: (row) => ({ text: shortened(row.id, full), paint: paint.dim }) },
    { title: 'NAME', shrink: 10, cell: (row) => ({ text: row.name, paint: paint.bold }) },
    { title: 'ISOLATION', cell: field('Isolation') },
    { title: 'CPU %', align: 'right', cell: (row) => ({ text: field('CPUPerc')(row), paint: hot(row) }) },
    { title: 'MEM USAGE / LIMIT', align: 'right', cell: field('MemUsage') },
    { title: 'MEM %', align: 'right', cell: (row) => ({ text: field('MemPerc')(row), paint: tight(row) }) },
    { title: 'NET I/O', align: 'right', cell: field('NetIO') },
    { title: 'BLOCK I/O', align: 'right', cell: field('BlockIO') },
    { title: 'PIDS', align: 'right', cell: field('PIDs') },
  ];
}

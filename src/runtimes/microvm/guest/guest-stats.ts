import { fieldOf, numberOf, type Fields } from './fields.ts';

/** What a guest counts: its workload's control group, and the whole machine. */
export interface GuestStats {
  /** microseconds */
  cpu: { usage: number; user: number; system: number };
  /** bytes; `peak` where the kernel keeps it; `stat` as of the guest's memory.stat */
  memory: { current: number; peak?: number; stat: Record<string, number> };
  /** Processes of the workload. */
  pids: number;
  /** bytes; `uptime` in milliseconds */
  guest: { memoryTotal: number; memoryFree: number; memoryAvailable: number; uptime: number };
  /** Processes of the workload that the guest's kernel killed for memory. */
  oomKills: number;
}

/** Throws `guestBroken` when a number is none. */
export function parseStats(fields: Fields): GuestStats {
  const stat = fields.filter(([name]) => name.startsWith('memory.stat.')).slice(0, 128);
  return {
    cpu: {
      usage: numberOf(fields, 'cpu.usage'),
      user: numberOf(fields, 'cpu.user'),
      system: numberOf(fields, 'cpu.system'),
    },
    memory: {
      current: numberOf(fields, 'memory.current'),
      peak: fieldOf(fields, 'memory.peak') === undefined ? undefined : numberOf(fields, 'memory.peak'),
      stat: Object.fromEntries(
        stat.map(([name, value]) => [name.slice(12), numberOf([[name, value]], name)]),
      ),
    },
    pids: numberOf(fields, 'pids'),
    guest: {
      memoryTotal: numberOf(fields, 'guest.memoryTotal'),
      memoryFree: numberOf(fields, 'guest.memoryFree'),
      memoryAvailable: numberOf(fields, 'guest.memoryAvailable'),
      uptime: numberOf(fields, 'guest.uptime'),
    },
    oomKills: numberOf(fields, 'oomKills'),
  };
}

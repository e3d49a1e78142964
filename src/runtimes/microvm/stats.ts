import type { RuntimeStats } from '../../engine/runtime.ts';
import type { GuestStats } from './guest/guest-stats.ts';
import type { Vm } from './vm.ts';

/** Milliseconds for the guest's answer, after which what it said last is told again. */
const patience = 2000;

/** Milliseconds in which one answer serves everybody. */
const fresh = 250;

/**
 * What the workload uses as the guest's kernel counts it. `monitor` is what the host counts of the whole VM: block I/O is
 * the host's own, and all of it is taken when the guest has never answered.
 */
export async function statsOf(vm: Vm, monitor: RuntimeStats): Promise<RuntimeStats> {
  const inside = await askGuest(vm);
  if (!inside) return monitor;
  const { cpu, memory, pids, guest } = inside;
  return {
    readAt: monitor.readAt,
    cpu: {
      total: cpu.usage * 1000,
      user: cpu.user * 1000,
      system: cpu.system * 1000,
      throttled: monitor.cpu.throttled,
    },
    memory: {
      usage: memory.current,
      ...(memory.peak === undefined ? {} : { max: memory.peak }),
      limit: guest.memoryTotal,
      stats: memory.stat,
    },
    pids: { current: pids, limit: monitor.pids.limit },
    blkio: monitor.blkio,
  };
}

async function askGuest(vm: Vm): Promise<GuestStats | undefined> {
  const now = performance.now();
  if (vm.stats && now - vm.stats.at < fresh) return vm.stats.values;
  if (vm.paused) return vm.stats?.values;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), patience);
  try {
    const asked = vm.agent().then((agent) => agent.stats());
    asked.catch(() => {});
    const values = await Promise.race([asked, promise]);
    if (values) vm.stats = { at: performance.now(), values };
  } catch {
    // Told as it was last.
  } finally {
    clearTimeout(timer);
  }
  return vm.stats?.values;
}

import type { DeviceRate, Resources } from '../../engine/model.ts';
import { isleError } from '../../lib/errors.ts';
import type { HostLimits } from './host-limits.ts';
import { deviceNumbers } from './spec-devices.ts';
import type { OciResources } from './spec-types.ts';

const minimumMemory = 6 * 1024 * 1024;

/**
 * Limits in the specification's words, without devices.
 *
 * What the host's kernel cannot do is refused with the reason; a default that nobody asked for (swap of a
 * container with a memory limit) is left out instead. Texts follow Docker's, which clients know.
 */
export async function resourcesOf(resources: Resources, host: HostLimits): Promise<OciResources> {
  const result: OciResources = {};
  const memory = memoryOf(resources, host);
  if (Object.keys(memory).length > 0 && !host.memory) throw missing('memory', 'memory');
  if (Object.keys(memory).length > 0) result.memory = memory;
  const cpu = cpuOf(resources, host);
  if (cpu.shares !== undefined && !host.cpuShares) throw missing('CPU shares', 'cpu');
  if ((cpu.quota !== undefined || cpu.period !== undefined) && !host.cpuQuota)
    throw missing('a CPU quota', 'cpu');
  if ((cpu.cpus !== undefined || cpu.mems !== undefined) && !host.cpuset) throw missing('a cpuset', 'cpuset');
  if (Object.keys(cpu).length > 0) result.cpu = cpu;
  // A new cgroup has no limit, and crun 1.8 writes a −1 as it is, which the kernel refuses.
  if (resources.pidsLimit !== undefined && resources.pidsLimit > 0) {
    if (!host.pids) throw missing('a pids limit', 'pids');
    result.pids = { limit: resources.pidsLimit };
  }
  const blockIo = await blockIoOf(resources, host);
  if (Object.keys(blockIo).length > 0) result.blockIO = blockIo;
  return result;
}

function memoryOf(asked: Resources, host: HostLimits): NonNullable<OciResources['memory']> {
  const { memory = 0, memoryReservation = 0, memorySwap = 0, memorySwappiness } = asked;
  const result: NonNullable<OciResources['memory']> = {};
  if (memory < 0 || memoryReservation < 0) throw invalid('a memory limit cannot be negative');
  if (memory > 0 && memory < minimumMemory) throw invalid('Minimum memory limit allowed is 6MB');
  if (memorySwap > 0 && memory === 0)
    throw invalid('You should always set the Memory limit when using Memoryswap limit, see usage');
  if (memorySwap > 0 && memorySwap < memory)
    throw invalid('Minimum memoryswap limit should be larger than memory limit, see usage');
  if (memoryReservation > 0 && memoryReservation < minimumMemory)
    throw invalid('Minimum memory reservation allowed is 6MB');
  if (memory > 0 && memoryReservation > memory)
    throw invalid('Minimum memory limit can not be less than memory reservation limit, see usage');
  if (memory > 0) result.limit = memory;
  if (memoryReservation > 0) result.reservation = memoryReservation;
  if (memorySwap !== 0) {
    if (!host.swap && memorySwap > 0 && memorySwap !== memory)
      throw invalid(
        'a swap limit cannot be set: this kernel does not account swap (boot with swapaccount=1)',
      );
    if (host.swap) result.swap = memorySwap;
  } else if (memory > 0 && host.swap) result.swap = memory * 2;
  if (memorySwappiness !== undefined && memorySwappiness !== -1) {
    if (memorySwappiness < 0 || memorySwappiness > 100)
      throw invalid(`Invalid value: ${memorySwappiness}, valid memory swappiness range is 0-100`);
    if (!host.swappiness) throw invalid('memory swappiness cannot be set: cgroup v2 has no such setting');
    result.swappiness = memorySwappiness;
  }
  if (asked.kernelMemoryTcp) {
    if (!host.kernelMemoryTcp)
      throw invalid('a kernel TCP memory limit cannot be set: this kernel has no such setting');
    result.kernelTCP = asked.kernelMemoryTcp;
  }
  if (asked.oomKillDisable) {
    if (!host.oomKillDisable)
      throw invalid('the OOM killer cannot be disabled: cgroup v2 has no such setting');
    result.disableOOMKiller = true;
  }
  return result;
}

function cpuOf(asked: Resources, host: HostLimits): NonNullable<OciResources['cpu']> {
  const result: NonNullable<OciResources['cpu']> = {};
  const { nanoCpus = 0, cpuPeriod = 0, cpuQuota = 0, cpuShares = 0 } = asked;
  if (nanoCpus !== 0) {
    if (cpuPeriod !== 0 || cpuQuota !== 0)
      throw invalid('Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set');
    if (nanoCpus < 10_000_000 || nanoCpus > host.cpus.length * 1e9)
      throw invalid(
        `range of CPUs is from 0.01 to ${host.cpus.length}.00, as there are only ${host.cpus.length} CPUs available`,
      );
    result.period = 100_000;
    result.quota = Math.floor(nanoCpus / 10_000);
  }
  if (cpuPeriod !== 0) {
    if (cpuPeriod < 1000 || cpuPeriod > 1_000_000)
      throw invalid('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
    result.period = cpuPeriod;
  }
  if (cpuQuota !== 0) {
    if (cpuQuota > 0 && cpuQuota < 1000) throw invalid('CPU cfs quota can not be less than 1ms (i.e. 1000)');
    result.quota = cpuQuota;
  }
  if (cpuShares !== 0) {
    if (cpuShares < 2 || cpuShares > 262_144)
      throw invalid(`invalid CPU shares ${cpuShares}: from 2 to 262144`);
    result.shares = cpuShares;
  }
  realtime(asked, host, result);
  if (asked.cpusetCpus) result.cpus = cpuset('CPUs', asked.cpusetCpus, host.cpus);
  if (asked.cpusetMems) result.mems = cpuset('memory nodes', asked.cpusetMems, host.memoryNodes);
  return result;
}

function realtime(asked: Resources, host: HostLimits, result: NonNullable<OciResources['cpu']>): void {
  const { cpuRealtimePeriod = 0, cpuRealtimeRuntime = 0 } = asked;
  if (cpuRealtimePeriod === 0 && cpuRealtimeRuntime === 0) return;
  if (!host.cpuRealtime)
    throw invalid(
      'CPU realtime limits cannot be set: this kernel has no realtime group scheduling in cgroup v1',
    );
  if (cpuRealtimePeriod !== 0 && cpuRealtimeRuntime > cpuRealtimePeriod)
    throw invalid('cpu real-time runtime cannot be higher than cpu real-time period');
  if (cpuRealtimePeriod !== 0) result.realtimePeriod = cpuRealtimePeriod;
  if (cpuRealtimeRuntime !== 0) result.realtimeRuntime = cpuRealtimeRuntime;
}

function cpuset(what: string, asked: string, available: number[]): string {
  const wanted = parseSet(asked);
  if (!wanted) throw invalid(`Invalid value ${asked} for cpuset ${what.toLowerCase()}`);
  if (!wanted.every((n) => available.includes(n)))
    throw invalid(`Requested ${what} are not available - requested ${asked}, available: ${available.join()}`);
  return asked;
}

/** `0-3,7` as numbers, undefined when it is not that. At most 8,192 of them. */
export function parseSet(text: string): number[] | undefined {
  const numbers: number[] = [];
  for (const part of text.trim().split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    if (!match) return undefined;
    const from = Number(match[1]);
    const to = Number(match[2] ?? from);
    if (to < from || to - from > 8192 || numbers.length > 8192) return undefined;
    for (let n = from; n <= to; n++) numbers.push(n);
  }
  return numbers;
}

async function blockIoOf(asked: Resources, host: HostLimits): Promise<NonNullable<OciResources['blockIO']>> {
  const result: NonNullable<OciResources['blockIO']> = {};
  if (asked.blkioWeight) {
    checkWeight(asked.blkioWeight, host);
    result.weight = asked.blkioWeight;
  }
  if (asked.blkioWeightDevice?.length)
    result.weightDevice = await Promise.all(
      asked.blkioWeightDevice.map(async ({ path, rate }) => {
        checkWeight(rate, host);
        return { ...(await deviceNumbers(path)), weight: rate };
      }),
    );
  const throttles = [
    ['throttleReadBpsDevice', asked.deviceReadBps],
    ['throttleWriteBpsDevice', asked.deviceWriteBps],
    ['throttleReadIOPSDevice', asked.deviceReadIops],
    ['throttleWriteIOPSDevice', asked.deviceWriteIops],
  ] as const;
  await Promise.all(
    throttles.map(async ([name, rates]) => {
      if (rates?.length) result[name] = await Promise.all(rates.map((rate) => throttle(rate, host)));
    }),
  );
  return result;
}

async function throttle({ path, rate }: DeviceRate, host: HostLimits) {
  if (!host.blkioThrottle)
    throw invalid('I/O throttles cannot be set: this host has no blkio or io controller');
  if (!Number.isSafeInteger(rate) || rate < 0) throw invalid(`invalid rate ${rate} for ${path}`);
  return { ...(await deviceNumbers(path)), rate };
}

function checkWeight(weight: number, host: HostLimits): void {
  if (weight < 10 || weight > 1000) throw invalid('Range of blkio weight is from 10 to 1000');
  if (!host.blkioWeight)
    throw invalid(
      'a blkio weight cannot be set: this host has no blkio.weight (needs an I/O scheduler that weighs, or cgroup v2)',
    );
}

function missing(what: string, controller: string) {
  return invalid(`${what} cannot be limited: this host has no ${controller} controller (see isle doctor)`);
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}

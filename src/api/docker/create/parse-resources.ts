import type { DeviceRate, DeviceSpec, Resources, RestartPolicy, Ulimit } from '../../../engine/model.ts';
import { isleError } from '../../../lib/errors.ts';
import type { Fields } from '../../http/fields.ts';

/**
 * The limits of HostConfig and of `update`. A 0 is Docker's clients' way to say "not set". What contradicts itself is
 * refused by the engine, what this host cannot do by the runtime. Throws `invalidParameter`, `notImplemented`.
 */
export function parseResources(fields: Fields): Resources {
  // Windows' own, and GPUs.
  fields.refuse('CpuCount', 'CpuPercent', 'IOMaximumIOps', 'IOMaximumBandwidth', 'DeviceRequests');
  const resources: Resources = {
    cpuShares: fields.positive('CpuShares'),
    nanoCpus: fields.positive('NanoCpus'),
    cpuPeriod: fields.positive('CpuPeriod'),
    cpuQuota: fields.positive('CpuQuota'),
    cpuRealtimePeriod: fields.positive('CpuRealtimePeriod'),
    cpuRealtimeRuntime: fields.positive('CpuRealtimeRuntime'),
    cpusetCpus: fields.text('CpusetCpus') || undefined,
    cpusetMems: fields.text('CpusetMems') || undefined,
    memory: fields.positive('Memory'),
    memoryReservation: fields.positive('MemoryReservation'),
    memorySwap: fields.positive('MemorySwap'),
    memorySwappiness: swappiness(fields),
    kernelMemoryTcp: fields.positive('KernelMemoryTCP'),
    oomKillDisable: fields.flag('OomKillDisable') || undefined,
    pidsLimit: fields.positive('PidsLimit'),
    blkioWeight: fields.positive('BlkioWeight'),
    blkioWeightDevice: parseRates(fields, 'BlkioWeightDevice', 'Weight'),
    deviceReadBps: parseRates(fields, 'BlkioDeviceReadBps', 'Rate'),
    deviceWriteBps: parseRates(fields, 'BlkioDeviceWriteBps', 'Rate'),
    deviceReadIops: parseRates(fields, 'BlkioDeviceReadIOps', 'Rate'),
    deviceWriteIops: parseRates(fields, 'BlkioDeviceWriteIOps', 'Rate'),
  };
  return Object.fromEntries(Object.entries(resources).filter(([, value]) => value !== undefined));
}

/** −1 is Docker's older "not set". */
function swappiness(fields: Fields): number | undefined {
  const value = fields.optionalInteger('MemorySwappiness');
  if (value === undefined || value === -1) return undefined;
  return value;
}

function parseRates(fields: Fields, name: string, value: 'Rate' | 'Weight'): DeviceRate[] | undefined {
  const rates = fields.objects(name).map((item) => {
    const path = item.text('Path');
    if (!path.startsWith('/')) throw item.invalid('Path', `"${path}" is not an absolute path`);
    const rate = item.integer(value);
    if (rate < 0) throw item.invalid(value, 'must not be negative');
    return { path, rate };
  });
  return rates.length === 0 ? undefined : rates;
}

/** Undefined for an empty name, which Docker's clients send for "not set". */
export function parseRestartPolicy(hostConfig: Fields): RestartPolicy | undefined {
  const policy = hostConfig.object('RestartPolicy');
  if (!policy) return undefined;
  const name = policy.text('Name');
  const maximumRetryCount = policy.integer('MaximumRetryCount');
  if (name !== '' && name !== 'no' && name !== 'always' && name !== 'unless-stopped' && name !== 'on-failure')
    throw policy.invalid(
      'Name',
      `unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  if (name === '' && maximumRetryCount === 0) return undefined;
  return { name: name || 'no', maximumRetryCount };
}

export function parseUlimits(hostConfig: Fields): Ulimit[] {
  const known =
    /^(as|core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack)$/;
  return hostConfig.objects('Ulimits').map((item) => {
    const name = item.text('Name');
    const soft = item.integer('Soft');
    const hard = item.integer('Hard');
    if (!known.test(name)) throw item.invalid('Name', `invalid ulimit type: ${name}`);
    if (hard !== -1 && (soft > hard || soft === -1))
      throw item.invalid(
        'Soft',
        `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
      );
    return { name, soft, hard };
  });
}

export function parseDevices(hostConfig: Fields): DeviceSpec[] {
  return hostConfig.objects('Devices').map((item) => {
    const hostPath = item.text('PathOnHost');
    const containerPath = item.text('PathInContainer') || hostPath;
    const permissions = item.text('CgroupPermissions') || 'rwm';
    if (!hostPath.startsWith('/')) throw item.invalid('PathOnHost', `"${hostPath}" is not an absolute path`);
    if (!containerPath.startsWith('/'))
      throw item.invalid('PathInContainer', `"${containerPath}" is not an absolute path`);
    if (!/^[rwm]{1,3}$/.test(permissions))
      throw item.invalid('CgroupPermissions', `"${permissions}" is not made of r, w and m`);
    return { hostPath, containerPath, permissions };
  });
}

/** `c 1:3 rwm` */
export function parseDeviceRules(hostConfig: Fields): string[] {
  const rules = hostConfig.texts('DeviceCgroupRules');
  for (const rule of rules) {
    if (!/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(rule))
      throw isleError('invalidParameter', { message: `invalid device cgroup rule format: '${rule}'` });
  }
  return rules;
}

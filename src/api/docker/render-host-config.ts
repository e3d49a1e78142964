import type { Container, DeviceRate, Resources } from '../../engine/model.ts';
import { defaultMaskedPaths, defaultReadonlyPaths } from '../../lib/hidden-paths.ts';
import { formatNamespace } from './create/parse-namespace.ts';
import { renderBinds, renderMounts, renderTmpfs } from './render-mounts.ts';
import { renderPortBindings } from './render-ports.ts';

/** bytes */
const defaultShmSize = 64 * 1024 * 1024;

/** `HostConfig` of inspect. */
export function renderHostConfig(container: Container): object {
  const { spec } = container;
  const mounts = renderMounts(spec.mounts);
  const tmpfs = renderTmpfs(spec.mounts);
  return {
    Binds: renderBinds(spec.mounts),
    ContainerIDFile: '',
    LogConfig: { Type: spec.logConfig.driver, Config: spec.logConfig.options },
    NetworkMode: spec.networkMode,
    PortBindings: renderPortBindings(spec.portBindings),
    RestartPolicy: {
      Name: spec.restartPolicy.name,
      MaximumRetryCount: spec.restartPolicy.maximumRetryCount,
    },
    AutoRemove: spec.autoRemove,
    VolumeDriver: spec.volumeDriver ?? '',
    VolumesFrom: spec.volumesFrom,
    ConsoleSize: spec.consoleSize ?? [0, 0],
    ...(spec.annotations && { Annotations: spec.annotations }),
    CapAdd: spec.capAdd,
    CapDrop: spec.capDrop,
    CgroupnsMode: formatNamespace(spec.cgroupnsMode, 'private'),
    Dns: spec.dns,
    DnsOptions: spec.dnsOptions,
    DnsSearch: spec.dnsSearch,
    ExtraHosts: spec.extraHosts,
    GroupAdd: spec.groupAdd,
    IpcMode: formatNamespace(spec.ipcMode, 'private'),
    Cgroup: '',
    CgroupParent: spec.cgroupParent,
    Links: spec.links,
    OomScoreAdj: spec.oomScoreAdj ?? 0,
    PidMode: formatNamespace(spec.pidMode, ''),
    Privileged: spec.privileged,
    PublishAllPorts: spec.publishAllPorts,
    ReadonlyRootfs: spec.readonlyRootfs,
    SecurityOpt: spec.securityOpt,
    ...(tmpfs && { Tmpfs: tmpfs }),
    UTSMode: formatNamespace(spec.utsMode, ''),
    UsernsMode: spec.usernsMode,
    ...(container.idMap && { IDMappings: renderIdMap(container.idMap) }),
    ShmSize: spec.shmSize ?? defaultShmSize,
    ...(Object.keys(spec.sysctls).length > 0 && { Sysctls: spec.sysctls }),
    Runtime: spec.runtime,
    Isolation: '',
    ...renderResources(spec.resources),
    Devices: spec.devices.map((device) => ({
      PathOnHost: device.hostPath,
      PathInContainer: device.containerPath,
      CgroupPermissions: device.permissions,
    })),
    DeviceCgroupRules: spec.deviceCgroupRules,
    DeviceRequests: [],
    Ulimits: spec.ulimits.map((limit) => ({ Name: limit.name, Hard: limit.hard, Soft: limit.soft })),
    ...(mounts && { Mounts: mounts }),
    MaskedPaths: spec.privileged ? [] : (spec.maskedPaths ?? defaultMaskedPaths),
    ReadonlyPaths: spec.privileged ? [] : (spec.readonlyPaths ?? defaultReadonlyPaths),
    ...(spec.init !== undefined && { Init: spec.init }),
  };
}

/** As Podman's inspect has it: `inside:outside:count`. */
function renderIdMap({ hostId, size }: NonNullable<Container['idMap']>): object {
  const map = [`0:${hostId}:${size}`];
  return { UidMap: map, GidMap: map };
}

function renderResources(resources: Resources): object {
  return {
    CpuShares: resources.cpuShares ?? 0,
    Memory: resources.memory ?? 0,
    NanoCpus: resources.nanoCpus ?? 0,
    BlkioWeight: resources.blkioWeight ?? 0,
    BlkioWeightDevice: renderRates(resources.blkioWeightDevice, 'Weight') ?? [],
    BlkioDeviceReadBps: renderRates(resources.deviceReadBps, 'Rate') ?? [],
    BlkioDeviceWriteBps: renderRates(resources.deviceWriteBps, 'Rate') ?? [],
    BlkioDeviceReadIOps: renderRates(resources.deviceReadIops, 'Rate') ?? [],
    BlkioDeviceWriteIOps: renderRates(resources.deviceWriteIops, 'Rate') ?? [],
    CpuPeriod: resources.cpuPeriod ?? 0,
    CpuQuota: resources.cpuQuota ?? 0,
    CpuRealtimePeriod: resources.cpuRealtimePeriod ?? 0,
    CpuRealtimeRuntime: resources.cpuRealtimeRuntime ?? 0,
    CpusetCpus: resources.cpusetCpus ?? '',
    CpusetMems: resources.cpusetMems ?? '',
    ...(resources.kernelMemoryTcp !== undefined && { KernelMemoryTCP: resources.kernelMemoryTcp }),
    MemoryReservation: resources.memoryReservation ?? 0,
    MemorySwap: resources.memorySwap ?? 0,
    ...(resources.memorySwappiness !== undefined && { MemorySwappiness: resources.memorySwappiness }),
    OomKillDisable: resources.oomKillDisable ?? false,
    PidsLimit: resources.pidsLimit ?? null,
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
  };
}

function renderRates(rates: DeviceRate[] | undefined, value: 'Rate' | 'Weight'): object[] | undefined {
  return rates?.map((rate) => ({ Path: rate.path, [value]: rate.rate }));
}

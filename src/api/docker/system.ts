import type { Engine, RuntimeInfo, SystemInfo } from '../../engine/engine.ts';
import { currentVersion, formatVersion, minimumVersion } from '../http/api-version.ts';
import type { Call, Route } from '../http/call.ts';
import { type Answer, json, text } from '../http/reply.ts';
import type { ApiConfig } from './config.ts';
import { diskUsage } from './disk-usage.ts';

/** Ping, version, info and disk usage. */
export function systemRoutes(engine: Engine, config: ApiConfig): Route[] {
  return [
    { method: 'GET', path: '/_ping', handle: () => ping('OK') },
    { method: 'HEAD', path: '/_ping', handle: () => ping('') },
    {
      method: 'GET',
      path: '/version',
      async handle() {
        return json(renderVersion(await engine.system.info(), config));
      },
    },
    {
      method: 'GET',
      path: '/info',
      async handle(call) {
        return json(renderInfo(await engine.system.info(), engine, config, call));
      },
    },
    {
      method: 'POST',
      path: '/build/prune',
      // There is no build cache; `docker system prune` asks for it and gives up when it is refused.
      handle: () => json({ CachesDeleted: [], SpaceReclaimed: 0 }),
    },
    { method: 'GET', path: '/system/df', handle: (call) => diskUsage(engine, call) },
  ];
}

/** Without `Builder-Version` of 2 a client uses the classic builder's route, which says that it is not supported. */
function ping(body: string): Answer {
  const answer = text(body);
  return {
    ...answer,
    headers: {
      ...answer.headers,
      'builder-version': '1',
      swarm: 'inactive',
      'cache-control': 'no-cache, no-store, must-revalidate',
      pragma: 'no-cache',
    },
  };
}

function renderVersion(info: SystemInfo, config: ApiConfig): object {
  const api = { ApiVersion: formatVersion(currentVersion), MinAPIVersion: formatVersion(minimumVersion) };
  const arch = goArch(info.architecture);
  const common = {
    Os: 'linux',
    Arch: arch,
    KernelVersion: info.kernelVersion,
    GitCommit: '',
    GoVersion: '',
    BuildTime: '',
  };
  const details = {
    ...api,
    ...common,
    Experimental: 'false',
    NodeVersion: process.versions.node,
  };
  return {
    Platform: { Name: 'Isle' },
    Version: config.version,
    ...api,
    ...common,
    Experimental: false,
    Components: [
      { Name: 'Engine', Version: config.version, Details: details },
      ...availableRuntimes(info).map(([Name, { version }]) => ({
        Name,
        Version: version,
        Details: { GitCommit: '' },
      })),
    ],
  };
}

function availableRuntimes({ runtimes }: SystemInfo): [string, RuntimeInfo][] {
  return Object.entries(runtimes).filter(([, { why }]) => why === undefined);
}

/** Go's name for what `uname -m` says. */
function goArch(machine: string): string {
  if (machine === 'x86_64' || machine === 'x64') return 'amd64';
  return machine === 'aarch64' ? 'arm64' : machine;
}

function renderInfo(info: SystemInfo, engine: Engine, config: ApiConfig, call: Call): object {
  const phases = engine.containers.list().map((container) => container.state.phase);
  const count = (...wanted: string[]): number => phases.filter((phase) => wanted.includes(phase)).length;
  const running = count('running', 'restarting');
  const paused = count('paused');
  return {
    ID: info.id,
    Containers: phases.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: phases.length - running - paused,
    Images: engine.images.list().length,
    Driver: 'overlay2',
    DriverStatus: [
      ['Supports d_type', 'true'],
      ['Using metacopy', 'false'],
      ['Native Overlay Diff', 'true'],
      ['userxattr', 'false'],
    ],
    Plugins: {
      Volume: ['local'],
      Network: ['bridge', 'host', 'null'],
      Authorization: [],
      Log: ['json-file', 'local', 'none'],
    },
    ...renderLimits(info),
    IPv4Forwarding: true,
    Debug: info.debug,
    SystemTime: new Date().toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: info.cgroupDriver,
    CgroupVersion: info.cgroupVersion,
    KernelVersion: info.kernelVersion,
    OperatingSystem: info.operatingSystem,
    OSVersion: info.osVersion,
    OSType: 'linux',
    Architecture: info.architecture,
    NCPU: info.cpus,
    MemTotal: info.memory,
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: {
      InsecureRegistryCIDRs: [],
      IndexConfigs: { 'docker.io': { Name: 'docker.io', Mirrors: [], Secure: true, Official: true } },
      Mirrors: [],
    },
    GenericResources: [],
    DockerRootDir: info.dataRoot,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Name: info.name,
    Labels: [],
    ExperimentalBuild: false,
    ServerVersion: config.version,
    Runtimes: Object.fromEntries(
      availableRuntimes(info).map(([name, { path, status }]) => [
        name,
        { path, ...(Object.keys(status).length > 0 && { status }) },
      ]),
    ),
    DefaultRuntime: info.defaultRuntime,
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null,
    },
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: 'catatonit',
    ContainerdCommit: { ID: '' },
    RuncCommit: { ID: info.runtimes.crun?.version ?? '' },
    InitCommit: { ID: '' },
    SecurityOptions: info.securityOptions,
    ...(call.version >= 49 && { FirewallBackend: { Driver: 'nftables' } }),
    ...(call.version >= 50 && { DiscoveredDevices: [] }),
    CDISpecDirs: [],
    Warnings: info.warnings,
  };
}

function renderLimits({ limits }: SystemInfo): object {
  return {
    MemoryLimit: limits.memory,
    SwapLimit: limits.swap,
    CpuCfsPeriod: limits.cpuCfsPeriod,
    CpuCfsQuota: limits.cpuCfsQuota,
    CPUShares: limits.cpuShares,
    CPUSet: limits.cpuset,
    PidsLimit: limits.pids,
    OomKillDisable: limits.oomKillDisable,
  };
}

import type { MachineSpec } from './machine.ts';

/**
 * The engine's words for a container, whatever isolates it. The Docker API (and later others) parse their own
 * JSON into these and render them back; below the engine only {@link ./runtime.ts} types are known.
 *
 * Units: sizes are bytes, durations nanoseconds unless a name says otherwise, times are ISO 8601 strings with
 * nanoseconds where the source has them (`2026-01-02T03:04:05.123456789Z`). Absent means "not asked for", so
 * that an explicit zero can be told from it. Field meanings are those of the Docker Engine API 1.51
 * (ContainerConfig, HostConfig, NetworkingConfig) unless said otherwise.
 */

export type ContainerPhase = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';

export interface HealthCheck {
  /** `[]` inherits, `['NONE']` disables, `['CMD', …]` or `['CMD-SHELL', command]`. */
  test: string[];
  interval?: number;
  timeout?: number;
  startPeriod?: number;
  startInterval?: number;
  retries?: number;
}

export interface PortKey {
  /** 1–65535 */
  port: number;
  protocol: 'tcp' | 'udp' | 'sctp';
}

export interface PortBinding extends PortKey {
  /** Empty: 0.0.0.0 and [::]. */
  hostIp: string;
  /** 0: any free port. */
  hostPort: number;
  /** Set when a range was given for one container port (`8000-8010:80`): the first free one of hostPort…hostPortEnd. */
  hostPortEnd?: number;
}

export type Propagation = 'private' | 'rprivate' | 'shared' | 'rshared' | 'slave' | 'rslave';

export interface MountSpec {
  type: 'bind' | 'volume' | 'tmpfs' | 'image';
  /** bind: an absolute host path; volume: its name, or '' for an anonymous one; image: its reference. */
  source: string;
  /** Absolute path inside the container. */
  target: string;
  readOnly: boolean;
  /** Read-only only at the top, as before Docker 25 (`bind-nonrecursive-ro`, `readonly-force`). */
  readOnlyNonRecursive?: boolean;
  readOnlyForceRecursive?: boolean;
  propagation?: Propagation;
  nonRecursive?: boolean;
  /** `-v` creates a missing host directory, `--mount type=bind` refuses it. */
  createSource?: boolean;
  noCopy?: boolean;
  /** Path inside the volume or image. */
  subpath?: string;
  /** Which image that was when the container was created. */
  image?: { id: string; chainId: string | undefined };
  driver?: string;
  driverOptions?: Record<string, string>;
  labels?: Record<string, string>;
  tmpfs?: { size?: number; mode?: number; options?: string[] };
  /** The options of `-v SOURCE:TARGET:OPTIONS`, as written; inspect shows them. */
  mode?: string;
  /** How it was asked for; decides whether it is shown in HostConfig.Binds or HostConfig.Mounts. */
  origin: 'binds' | 'mounts' | 'tmpfs' | 'image';
}

export interface DeviceSpec {
  hostPath: string;
  containerPath: string;
  /** Any of r, w, m. */
  permissions: string;
}

export interface Ulimit {
  name: string;
  soft: number;
  hard: number;
}

export interface DeviceRate {
  path: string;
  /** bytes or operations per second, or a weight */
  rate: number;
}

/** Limits, all changeable while running (`update`). */
export interface Resources {
  cpuShares?: number;
  /** Billionths of a CPU (`--cpus 1.5` is 1_500_000_000). */
  nanoCpus?: number;
  /** microseconds */
  cpuPeriod?: number;
  cpuQuota?: number;
  cpuRealtimePeriod?: number;
  cpuRealtimeRuntime?: number;
  cpusetCpus?: string;
  cpusetMems?: string;
  memory?: number;
  memoryReservation?: number;
  /** memory + swap; −1 unlimited */
  memorySwap?: number;
  memorySwappiness?: number;
  kernelMemoryTcp?: number;
  oomKillDisable?: boolean;
  /** −1 or 0 unlimited */
  pidsLimit?: number;
  blkioWeight?: number;
  blkioWeightDevice?: DeviceRate[];
  deviceReadBps?: DeviceRate[];
  deviceWriteBps?: DeviceRate[];
  deviceReadIops?: DeviceRate[];
  deviceWriteIops?: DeviceRate[];
}

/** Whose namespace: a fresh one, the host's, or another container's (by full id once resolved). */
export type NamespaceMode = 'private' | 'shareable' | 'host' | 'none' | { container: string };

export interface RestartPolicy {
  name: 'no' | 'always' | 'unless-stopped' | 'on-failure';
  maximumRetryCount: number;
}

export interface LogConfig {
  /** `json-file` and `local` are both served by conmon's own file; `none` keeps nothing. Others are refused. */
  driver: string;
  options: Record<string, string>;
}

export interface EndpointSpec {
  aliases?: string[];
  ipv4Address?: string;
  ipv6Address?: string;
  linkLocalIps?: string[];
  macAddress?: string;
  links?: string[];
  driverOptions?: Record<string, string>;
  gwPriority?: number;
  /** The addresses are those that it had: wanted also where nobody may ask for one, and done without when somebody has them. */
  returning?: boolean;
}

/** Everything `docker create` says. Kept as asked, so that inspect shows what the user wrote. */
export interface ContainerSpec {
  image: string;
  /** `linux/amd64` when asked for. */
  platform?: string;
  runtime: string;

  // process
  entrypoint?: string[];
  command?: string[];
  env: string[];
  user: string;
  workingDir: string;
  tty: boolean;
  openStdin: boolean;
  stdinOnce: boolean;
  attachStdin: boolean;
  attachStdout: boolean;
  attachStderr: boolean;
  stopSignal?: string;
  /** seconds; −1 waits for ever */
  stopTimeout?: number;
  healthcheck?: HealthCheck;
  init?: boolean;

  // identity
  hostname: string;
  domainname: string;
  labels: Record<string, string>;
  annotations?: Record<string, string>;

  // filesystem
  mounts: MountSpec[];
  volumesFrom: string[];
  readonlyRootfs: boolean;
  /** bytes; default 64 MiB */
  shmSize?: number;
  volumeDriver?: string;

  // network
  /** `default`/`bridge`, `none`, `host`, `container:<id>`, or a user-defined network's name or id. */
  networkMode: string;
  networks: Record<string, EndpointSpec>;
  exposedPorts: PortKey[];
  portBindings: PortBinding[];
  publishAllPorts: boolean;
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  /** `name:address` or `name:host-gateway` */
  extraHosts: string[];
  links: string[];
  macAddress?: string;
  networkDisabled?: boolean;

  // isolation
  privileged: boolean;
  capAdd: string[];
  capDrop: string[];
  securityOpt: string[];
  /** Unset: the defaults of Docker; []: nothing masked (systempaths=unconfined). */
  maskedPaths?: string[];
  readonlyPaths?: string[];
  groupAdd: string[];
  devices: DeviceSpec[];
  deviceCgroupRules: string[];
  sysctls: Record<string, string>;
  ulimits: Ulimit[];
  oomScoreAdj?: number;
  ipcMode: NamespaceMode;
  pidMode: NamespaceMode;
  utsMode: NamespaceMode;
  usernsMode: string;
  cgroupnsMode: NamespaceMode;
  cgroupParent: string;

  /** A full virtual machine: `image`, entrypoint and command are empty. */
  machine?: MachineSpec;

  resources: Resources;
  restartPolicy: RestartPolicy;
  autoRemove: boolean;
  logConfig: LogConfig;
  /** `[height, width]` */
  consoleSize?: [number, number];
}

export interface HealthResult {
  start: string;
  end: string;
  exitCode: number;
  output: string;
}

export interface Health {
  status: 'starting' | 'healthy' | 'unhealthy';
  failingStreak: number;
  log: HealthResult[];
}

export interface ContainerState {
  phase: ContainerPhase;
  /** 0 when not running */
  pid: number;
  exitCode: number;
  error: string;
  oomKilled: boolean;
  /** `0001-01-01T00:00:00Z` when never */
  startedAt: string;
  finishedAt: string;
  /** The user stopped it: `unless-stopped` honours that across restarts of the engine. */
  stoppedByUser: boolean;
  restartCount: number;
  health?: Health;
}

/** A mount as it was made: volumes named, paths resolved. */
export interface MountPoint {
  type: 'bind' | 'volume' | 'tmpfs' | 'image';
  /** Volume name, else absent. */
  name?: string;
  /** Host path. */
  source: string;
  destination: string;
  driver?: string;
  mode: string;
  readWrite: boolean;
  propagation: string;
}

/** The record of a container: what was asked, what was resolved, how it is. */
export interface Container {
  id: string;
  /** Without the leading slash. */
  name: string;
  createdAt: string;
  /** The pod it lives in; a plain container is a pod of one with the same id. */
  podId: string;
  /** `sha256:…` of the image's configuration. */
  imageId: string;
  /** The manifest's descriptor, when known. */
  imageManifest?: { mediaType: string; digest: string; size: number };
  /** Name of the implementation in `runtimes/`: `oci`. */
  runtimeName: string;
  spec: ContainerSpec;
  /** Image and spec merged: what runs. */
  process: { path: string; args: string[]; env: string[]; cwd: string; user: string };
  /** Its user namespace's ids on the host, for as long as it is there. Absent: it runs in the host's. */
  idMap?: { hostId: number; size: number };
  /** Nobody named a command, and the runtime starts the init it finds: `process` says which one usually is. */
  bootsInit?: boolean;
  /** Merged from the image when the spec did not say. '': what the runtime's `ending` says. */
  stopSignal: string;
  healthcheck?: HealthCheck;
  exposedPorts: PortKey[];
  labels: Record<string, string>;
  hostname: string;
  mounts: MountPoint[];
  state: ContainerState;
  /** Counts every change; lets a client of the store see that a record moved on. */
  revision: number;
}

export const zeroTime = '0001-01-01T00:00:00Z';

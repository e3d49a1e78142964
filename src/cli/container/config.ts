import { messageOf } from '../../lib/errors.ts';
import { parseUserns } from '../../lib/userns.ts';
import { Failure } from '../failure.ts';
import { type DeviceRequest, isCdiDevice, parseDevice, parseGpus } from './devices.ts';
import { autostartLabels } from './autostart.ts';
import { readEnvironmentFile, readLabelFile, toMap } from './environment.ts';
import type { Values } from '../flags.ts';
import type { ContainerFlags, limitFlags } from './flags.ts';
import { parseHealth } from './health.ts';
import { sortVolumes } from './mounts.ts';
import { type EndpointBody, parseMac, resolveNetworks } from './networks.ts';
import { parsePorts } from './ports.ts';
import { parseRestart } from './restart.ts';
import { normalizeCapabilities, parseSecurity } from './security.ts';

/** The body of POST /containers/create. Only what was asked for is in it. */
export interface CreateBody {
  Image: string;
  Cmd?: string[];
  Entrypoint?: string[];
  Tty: boolean;
  OpenStdin: boolean;
  StdinOnce: boolean;
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
  HostConfig: Record<string, unknown>;
  NetworkingConfig: { EndpointsConfig: Record<string, EndpointBody> };
  [key: string]: unknown;
}

/**
 * What the flags of `run` and `create` say, as the stock client would send it (checked against its recorded
 * bodies). Throws for what can be seen to be wrong from here.
 */
export function toCreateBody(flags: ContainerFlags, image: string, command: readonly string[]): CreateBody {
  checkNamespaces(flags);
  const attach = parseAttach(flags);
  const { binds, volumes } = sortVolumes(flags.volume);
  const ports = parsePorts(flags.publish, flags.expose);
  const networks = resolveNetworks(flags);
  if (flags['mac-address'] !== undefined) parseMac(flags['mac-address']);
  const environment = [...flags['env-file'].flatMap(readEnvironmentFile), ...flags.env];
  const labels = {
    ...toMap([...flags['label-file'].flatMap(readLabelFile), ...flags.label]),
    ...autostartLabels(flags),
  };

  return {
    Image: image,
    Cmd: command.length > 0 ? [...command] : undefined,
    Entrypoint: flags.entrypoint === undefined ? undefined : [flags.entrypoint],
    Hostname: flags.hostname,
    Domainname: flags.domainname,
    User: flags.user,
    WorkingDir: flags.workdir,
    ...attach,
    Tty: flags.tty,
    OpenStdin: flags.interactive,
    StdinOnce: flags.interactive && attach.AttachStdin,
    Env: orAbsent(environment),
    Labels: orAbsentMap(labels),
    Volumes: orAbsentMap(volumes),
    ExposedPorts: orAbsentMap(ports.exposed),
    Healthcheck: parseHealth(flags),
    StopSignal: flags['stop-signal'],
    StopTimeout: flags['stop-timeout'],
    HostConfig: {
      ...identityOf(flags),
      Binds: orAbsent(binds),
      Mounts: orAbsent(flags.mount),
      Tmpfs: flags.tmpfs.length > 0 ? toTmpfs(flags.tmpfs) : undefined,
      PortBindings: orAbsentMap(ports.bindings),
      PublishAllPorts: flags['publish-all'] || undefined,
      NetworkMode: networks.mode,
      ...namesOf(flags),
      ...isolationOf(flags),
      ...resourcesOf(flags),
    },
    NetworkingConfig: { EndpointsConfig: networks.endpoints },
  };
}

function parseAttach(flags: ContainerFlags) {
  const streams = flags.attach.map((name) => name.toLowerCase());
  for (const name of streams)
    if (!['stdin', 'stdout', 'stderr'].includes(name))
      throw new Failure('valid streams are STDIN, STDOUT and STDERR');
  const none = streams.length === 0;
  return {
    AttachStdin: none ? flags.interactive : streams.includes('stdin'),
    AttachStdout: none || streams.includes('stdout'),
    AttachStderr: none || streams.includes('stderr'),
  };
}

function identityOf(flags: ContainerFlags) {
  const restart = parseRestart(flags.restart);
  if (flags.rm && restart.Name !== 'no' && restart.Name !== '')
    throw new Failure('conflicting options: cannot specify both --restart and --rm');
  if (flags['log-driver'] === 'none' && flags['log-opt'].length > 0)
    throw new Failure('invalid logging opts for driver none');
  return {
    ContainerIDFile: flags.cidfile,
    AutoRemove: flags.rm,
    RestartPolicy: restart,
    Runtime: flags.runtime,
    Isolation: flags.isolation,
    Annotations: orAbsentMap(toMap(flags.annotation)),
    LogConfig: { Type: flags['log-driver'] ?? '', Config: toMap(flags['log-opt']) },
    VolumeDriver: flags['volume-driver'],
    VolumesFrom: orAbsent(flags['volumes-from']),
    StorageOpt: orAbsentMap(toMap(flags['storage-opt'])),
    ReadonlyRootfs: flags['read-only'] || undefined,
    ShmSize: flags['shm-size'],
    Init: flags.init,
  };
}

function namesOf(flags: ContainerFlags) {
  return {
    Dns: orAbsent(flags.dns),
    DnsOptions: orAbsent(flags['dns-option']),
    DnsSearch: orAbsent(flags['dns-search']),
    ExtraHosts: orAbsent(flags['add-host']),
    Links: orAbsent(flags.link),
  };
}

function isolationOf(flags: ContainerFlags) {
  const security = parseSecurity([...flags['security-opt'], ...(flags.nested ? ['nesting=true'] : [])]);
  const requests: DeviceRequest[] = [];
  if (flags.gpus !== undefined) requests.push(parseGpus(flags.gpus));
  const cdi = flags.device.filter(isCdiDevice);
  if (cdi.length > 0) requests.push({ Driver: 'cdi', Count: 0, DeviceIDs: cdi, Capabilities: null });
  return {
    CapAdd: orAbsent(normalizeCapabilities(flags['cap-add'])),
    CapDrop: orAbsent(normalizeCapabilities(flags['cap-drop'])),
    Privileged: flags.privileged || undefined,
    SecurityOpt: orAbsent(security.options),
    MaskedPaths: security.unmasked ? [] : undefined,
    ReadonlyPaths: security.unmasked ? [] : undefined,
    GroupAdd: orAbsent(flags['group-add']),
    IpcMode: flags.ipc,
    PidMode: flags.pid,
    UTSMode: flags.uts,
    UsernsMode: flags.userns,
    CgroupnsMode: flags.cgroupns,
    CgroupParent: flags['cgroup-parent'],
    Devices: orAbsent(flags.device.filter((one) => !isCdiDevice(one)).map(parseDevice)),
    DeviceRequests: orAbsent(requests),
    DeviceCgroupRules: orAbsent(flags['device-cgroup-rule']),
    Sysctls: orAbsentMap(toMap(flags.sysctl)),
    Ulimits: orAbsent(flags.ulimit.toSorted((a, b) => (a.Name < b.Name ? -1 : 1))),
    OomScoreAdj: flags['oom-score-adj'],
    OomKillDisable: flags['oom-kill-disable'] || undefined,
  };
}

function resourcesOf(flags: ContainerFlags) {
  const swappiness = flags['memory-swappiness'];
  if (swappiness !== undefined && swappiness !== -1 && (swappiness < 0 || swappiness > 100))
    throw new Failure(`invalid value: ${swappiness}. Valid memory swappiness range is 0-100`);
  return {
    ...limitsOf(flags),
    MemorySwappiness: swappiness,
    BlkioWeightDevice: orAbsent(flags['blkio-weight-device']),
    BlkioDeviceReadBps: orAbsent(flags['device-read-bps']),
    BlkioDeviceWriteBps: orAbsent(flags['device-write-bps']),
    BlkioDeviceReadIOps: orAbsent(flags['device-read-iops']),
    BlkioDeviceWriteIOps: orAbsent(flags['device-write-iops']),
  };
}

/** The limits that `update` sends too. */
export function limitsOf(flags: Values<typeof limitFlags>): Record<string, unknown> {
  return {
    BlkioWeight: flags['blkio-weight'],
    CpuPeriod: flags['cpu-period'],
    CpuQuota: flags['cpu-quota'],
    CpuRealtimePeriod: flags['cpu-rt-period'],
    CpuRealtimeRuntime: flags['cpu-rt-runtime'],
    CpuShares: flags['cpu-shares'],
    NanoCpus: flags.cpus,
    CpusetCpus: flags['cpuset-cpus'],
    CpusetMems: flags['cpuset-mems'],
    Memory: flags.memory,
    MemoryReservation: flags['memory-reservation'],
    MemorySwap: flags['memory-swap'],
    PidsLimit: flags['pids-limit'],
  };
}

function checkNamespaces(flags: ContainerFlags): void {
  const container = /^container:.+$/;
  const check = (
    flag: string,
    value: string | undefined,
    kind: string,
    allowed: (value: string) => boolean,
  ) => {
    if (value !== undefined && value !== '' && !allowed(value))
      throw new Failure(`--${flag}: invalid ${kind} mode`);
  };
  check('pid', flags.pid, 'PID', (value) => value === 'host' || container.test(value));
  check('uts', flags.uts, 'UTS', (value) => value === 'host');
  if (flags.userns) checkUserns(flags.userns);
  check('cgroupns', flags.cgroupns, 'CGROUP', (value) => value === 'host' || value === 'private');
  const pull = flags.pull;
  if (pull !== undefined && !['always', 'missing', 'never'].includes(pull))
    throw new Failure(`invalid pull option: '${pull}': must be one of "always", "missing" or "never"`);
}

function checkUserns(userns: string): void {
  try {
    parseUserns(userns);
  } catch (cause) {
    throw new Failure(`--userns: ${messageOf(cause)}`, { cause });
  }
}

function toTmpfs(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((spec) => {
      const at = spec.indexOf(':');
      return at < 0 ? [spec, ''] : [spec.slice(0, at), spec.slice(at + 1)];
    }),
  );
}

function orAbsent<T>(values: T[]): T[] | undefined {
  return values.length > 0 ? values : undefined;
}

function orAbsentMap<T extends object>(map: T): T | undefined {
  return Object.keys(map).length > 0 ? map : undefined;
}

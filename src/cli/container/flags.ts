import {
  boolean,
  bytes,
  duration,
  each,
  integer,
  integerWithin,
  list,
  maybeBoolean,
  parsed,
  text,
  type Values,
} from '../flags.ts';
import { autostartFlags } from './autostart.ts';
import { parseCpus } from './cpus.ts';
import { parseBytesRate, parseCgroupRule, parseCountRate, parseWeight } from './devices.ts';
import { parseEnvironment } from './environment.ts';
import { parseExtraHost, parseIp } from './hosts.ts';
import { parseSysctl, parseUlimit } from './limits.ts';
import { parseMount } from './mounts.ts';
import { parseNetwork } from './networks.ts';

const process_ = {
  attach: list('Attach to stdin, stdout or stderr', { short: 'a', complete: ['stdin', 'stdout', 'stderr'] }),
  entrypoint: text("Instead of the image's entrypoint"),
  env: each('Set an environment variable (NAME=VALUE, or NAME from here)', parseEnvironment, { short: 'e' }),
  'env-file': list('Read environment variables from a file', { complete: 'file' }),
  'group-add': list('Further groups of the user'),
  init: maybeBoolean('Run a small init that forwards signals and reaps processes'),
  interactive: boolean('Keep stdin open', { short: 'i' }),
  'stop-signal': text('Signal that stops the container'),
  'stop-timeout': integer('Seconds to wait before killing it; -1 for ever'),
  tty: boolean('Give it a terminal', { short: 't' }),
  user: text('User, or uid, and group: name|uid[:group|gid]', { short: 'u' }),
  workdir: text('Working directory inside', { short: 'w' }),
} as const;

const identity = {
  ...autostartFlags,
  annotation: list('Annotation for the runtime (key=value)', { value: 'map' }),
  cidfile: text('Write the id to this file', { complete: 'file' }),
  domainname: text('Domain name inside'),
  hostname: text('Host name inside', { short: 'h' }),
  label: list('Label (key=value)', { short: 'l' }),
  'label-file': list('Read labels from a file', { complete: 'file' }),
  name: text('Name of the container'),
  platform: text('Platform of the image, such as linux/arm64'),
  pull: text('Fetch the image first: "always", "missing" or "never"', {
    complete: ['always', 'missing', 'never'],
  }),
  quiet: boolean('No progress of a pull', { short: 'q' }),
  restart: text('When it ends: "no", "always", "unless-stopped", "on-failure[:N]"', {
    complete: ['no', 'always', 'unless-stopped', 'on-failure'],
  }),
  rm: boolean('Remove the container (and its anonymous volumes) when it ends'),
  runtime: text('What isolates it: microvm (a kernel of its own), system (a whole distribution), crun, …', {
    complete: 'runtime',
  }),
} as const;

const files = {
  mount: each('Mount, in full: type=bind|volume|tmpfs,source=…,target=…', parseMount, { value: 'mount' }),
  'read-only': boolean('No writes to the root file system'),
  'shm-size': bytes('Size of /dev/shm'),
  'storage-opt': list('Storage options'),
  tmpfs: list('Mount a tmpfs (path[:options])'),
  volume: list('Bind mount or volume: [source:]target[:options]', { short: 'v' }),
  'volume-driver': text('Volume driver'),
  'volumes-from': list("Mount another container's volumes", { complete: 'container' }),
} as const;

const network = {
  'add-host': each('Further line for /etc/hosts (name:address)', parseExtraHost),
  dns: each('DNS server', (given) => parseIp(given, 'IP address is not correctly formatted')),
  'dns-option': list('Resolver options', { aliases: ['dns-opt'] }),
  'dns-search': list('Resolver search domains'),
  expose: list('Port or range that the container listens on'),
  ip: text('IPv4 address'),
  ip6: text('IPv6 address'),
  link: list('Name another container here (container[:alias])'),
  'link-local-ip': list('Link-local addresses'),
  'mac-address': text('MAC address'),
  network: each('Network to join', parseNetwork, { value: 'network', aliases: ['net'], complete: 'network' }),
  'network-alias': list('Further name on its network', { aliases: ['net-alias'] }),
  publish: list('Publish a port: [[address:]host port:]port[/protocol]', { short: 'p' }),
  'publish-all': boolean('Publish all exposed ports on random ones', { short: 'P' }),
} as const;

const isolation = {
  'cap-add': list('Add capabilities'),
  'cap-drop': list('Drop capabilities'),
  'cgroup-parent': text('Parent cgroup'),
  cgroupns: text('cgroup namespace: host or private', { complete: ['host', 'private'] }),
  device: list('Give it a device: host path[:path inside][:rwm]'),
  'device-cgroup-rule': each('Rule for the allowed devices', parseCgroupRule),
  gpus: text('GPUs to add', { value: 'gpu-request' }),
  ipc: text('IPC namespace: private, shareable, host, none, container:NAME'),
  isolation: text('Isolation technology'),
  nested: boolean('Let it run containers itself (--runtime system)'),
  pid: text('PID namespace: host, container:NAME'),
  privileged: boolean('Give it everything the host has'),
  'security-opt': list('Security options'),
  sysctl: each('Kernel parameters (name=value)', parseSysctl, { value: 'map' }),
  ulimit: each('Process limits (name=soft[:hard])', parseUlimit, { value: 'ulimit' }),
  userns: text('User namespace: auto (root inside is nobody outside), auto:size=N ids, or host'),
  uts: text('UTS namespace: host'),
} as const;

/** The limits that `update` can change too. */
export const limitFlags = {
  'blkio-weight': integerWithin(0, 65535, 'Weight for block I/O, 10 to 1000, or 0', { value: 'uint16' }),
  'cpu-period': integer('CFS period in microseconds'),
  'cpu-quota': integer('CFS quota in microseconds'),
  'cpu-rt-period': integer('Real-time period in microseconds'),
  'cpu-rt-runtime': integer('Real-time runtime in microseconds'),
  'cpu-shares': integer('CPU weight relative to others', { short: 'c' }),
  cpus: parsed('Number of CPUs (1.5)', parseCpus, { value: 'decimal' }),
  'cpuset-cpus': text('CPUs it may run on (0-3,5)'),
  'cpuset-mems': text('Memory nodes it may use'),
  'kernel-memory': bytes('Ignored: kernels no longer limit it', { hidden: true }),
  memory: bytes('Memory limit', { short: 'm' }),
  'memory-reservation': bytes('Memory it can count on'),
  'memory-swap': parsed('Memory and swap together; -1 for no limit', parseMemorySwap, { value: 'bytes' }),
  'pids-limit': integer('Most processes; -1 for no limit'),
} as const;

const moreLimits = {
  'blkio-weight-device': each('Weight for one device (path:weight)', parseWeight),
  'device-read-bps': each('Most bytes a second read from a device', parseBytesRate),
  'device-read-iops': each('Most reads a second from a device', parseCountRate),
  'device-write-bps': each('Most bytes a second written to a device', parseBytesRate),
  'device-write-iops': each('Most writes a second to a device', parseCountRate),
  'memory-swappiness': integer('How eagerly to swap, 0 to 100'),
  'oom-kill-disable': boolean('Never kill it when memory runs out'),
  'oom-score-adj': integer("The host's preference to kill it, -1000 to 1000"),
} as const;

const care = {
  'health-cmd': text('Command that checks the health'),
  'health-interval': duration('Time between checks'),
  'health-retries': integer('Failures in a row that mean unhealthy'),
  'health-start-interval': duration('Time between checks during the start period'),
  'health-start-period': duration('Time to come up before failures count'),
  'health-timeout': duration('Longest time a check may take'),
  'log-driver': text('Logging driver: json-file, local or none'),
  'log-opt': list('Logging options (max-size=10m)'),
  'no-healthcheck': boolean("Switch off the image's health check"),
  'disable-content-trust': boolean('Accepted and ignored', { hidden: true }),
} as const;

/** Everything that `run` and `create` have in common. */
export const containerFlags = {
  ...process_,
  ...identity,
  ...files,
  ...network,
  ...isolation,
  ...limitFlags,
  ...moreLimits,
  ...care,
} as const;

export type ContainerFlags = Values<typeof containerFlags>;

function parseMemorySwap(given: string): number {
  return given === '-1' ? -1 : bytes('').next(given, undefined)!;
}

import { readFile } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isleError, messageOf } from '../lib/errors.ts';
import { defaultMachineConfig, type MachineConfig } from '../runtimes/machine/config.ts';
import { defaultMicrovmConfig, type MicrovmConfig } from '../runtimes/microvm/config.ts';
import { didYouMean } from '../lib/suggest.ts';

/** Everything that can be set for a daemon; `docs/configuration.md` describes each for users. */
export interface DaemonConfig {
  /** What must outlive the host's restart: database, images, writable layers, volumes. */
  dataRoot: string;
  /** What must not: sockets, bundles, mount points, network namespaces. */
  runRoot: string;
  dockerSocket: string;
  /** Prefix for the bridge, the nftables table and the cgroup: lets several daemons live on one host. */
  instance: string;
  logLevel: LogLevel;
  images: ImagesConfig;
  network: NetworkConfig;
  runtime: RuntimeConfig;
  containers: ContainersConfig;
  microvm: MicrovmConfig;
  machine: MachineConfig;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface ImagesConfig {
  /** Base URLs to try before the registry itself, by registry host (`docker.io`). */
  mirrors: Record<string, string[]>;
  /** `host:port` of registries that may be reached over HTTP or with a certificate nobody vouches for. */
  insecureRegistries: string[];
  /** Paths of PEM files with the authorities to trust, by registry host. */
  certificateAuthorities: Record<string, string>;
  maxConcurrentDownloads: number;
  /** Base URLs of servers of LXD's and Incus' images, by the name before the colon (`images:debian/12`). */
  remotes: Record<string, string>;
}

export interface NetworkConfig {
  /** Subnet of the default bridge network; unset: the first free one of `addressPools`. */
  bridgeSubnet?: string;
  bridgeIPv6Subnet?: string;
  mtu?: number;
  /** Where subnets that nobody chose come from; unset: private ones that collide with no route of the host. */
  addressPools?: { base: string; size: number }[];
  /** Name servers for containers; unset: the host's. */
  dns?: string[];
  /** Network namespaces kept ready. */
  namespacePool?: number;
}

export interface RuntimeConfig {
  /** Which of `paths` runs containers that name no runtime. */
  default: string;
  /** OCI runtimes by name. */
  paths: Record<string, string>;
  conmon: string;
  init: string;
  seccompProfile: string;
}

export interface ContainersConfig {
  logDriver: string;
  logOptions: Record<string, string>;
  ulimits: { name: string; soft: number; hard: number }[];
  /** Run every container under the small init unless it says otherwise. */
  init: boolean;
  /** seconds a container gets to stop by itself when it says nothing else */
  stopTimeout: number;
  /** Whether a container has a user namespace of its own when nobody says; unset: as its runtime usually does. */
  userns?: 'auto' | 'host';
  /** Ids of the host that user namespaces may have; unset: 1879048192 to 2147352575. */
  usernsIds?: { first: number; last: number };
}

const defaults = {
  dataRoot: '/var/lib/isle',
  runRoot: '/run/isle',
  instance: 'isle',
  logLevel: 'info' as LogLevel,
  images: {
    mirrors: {},
    insecureRegistries: [],
    certificateAuthorities: {},
    maxConcurrentDownloads: 4,
    remotes: { images: 'https://images.linuxcontainers.org' },
  },
  network: {},
  runtime: {
    default: 'crun',
    paths: { crun: '/usr/bin/crun', runc: '/usr/bin/runc' },
    conmon: '/usr/bin/conmon',
    init: '/usr/bin/catatonit',
    seccompProfile: '/usr/share/containers/seccomp.json',
  },
  containers: { logDriver: 'json-file', logOptions: {}, ulimits: [], init: false, stopTimeout: 10 },
  microvm: defaultMicrovmConfig,
  machine: defaultMachineConfig,
};

/**
 * The daemon's configuration from its command line and the file that `--config` names; the command line wins.
 * Throws `invalidParameter` for a wrong option, `invalidConfig` for the file's unknown keys (with the nearest known
 * one), wrong types and values out of range.
 */
export async function loadConfig(argv: string[]): Promise<DaemonConfig> {
  const flags = parseFlags(argv);
  const file = flags.config === undefined ? {} : await readConfigFile(flags.config);
  const set = checkFile(file, flags.config ?? '');
  const runRoot = resolve(flags['run-root'] ?? set.runRoot ?? defaults.runRoot);
  const config: DaemonConfig = {
    dataRoot: resolve(flags['data-root'] ?? set.dataRoot ?? defaults.dataRoot),
    runRoot,
    dockerSocket: resolve(flags['docker-socket'] ?? set.dockerSocket ?? `${runRoot}/docker.sock`),
    instance: flags.instance ?? set.instance ?? defaults.instance,
    logLevel: levelOf(flags['log-level'] ?? set.logLevel ?? defaults.logLevel),
    images: {
      ...defaults.images,
      ...set.images,
      remotes: { ...defaults.images.remotes, ...set.images?.remotes },
    },
    network: { ...defaults.network, ...set.network },
    runtime: {
      ...defaults.runtime,
      ...set.runtime,
      paths: { ...defaults.runtime.paths, ...set.runtime?.paths },
    },
    containers: { ...defaults.containers, ...set.containers },
    microvm: { ...defaults.microvm, ...set.microvm },
    machine: { ...defaults.machine, ...set.machine },
  };
  checkInstance(config.instance);
  return config;
}

const options = {
  'data-root': { type: 'string' },
  'run-root': { type: 'string' },
  'docker-socket': { type: 'string' },
  instance: { type: 'string' },
  config: { type: 'string' },
  'log-level': { type: 'string' },
} as const;

function parseFlags(argv: string[]): { [K in keyof typeof options]?: string } {
  try {
    return parseArgs({ args: argv, options, allowPositionals: false, strict: true }).values;
  } catch (error) {
    const known = Object.keys(options).map((name) => `--${name}`);
    const wrong = argv.find((arg) => arg.startsWith('-') && !known.includes(arg.split('=')[0]!));
    const hint = wrong === undefined ? '' : didYouMean(wrong, known);
    const message = wrong === undefined ? messageOf(error) : `unknown flag ${wrong}${hint}`;
    throw isleError('invalidParameter', { message }, error);
  }
}

async function readConfigFile(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw isleError('invalidConfig', { file: path, message: `cannot be read: ${messageOf(error)}` }, error);
  }
  const { parse } = await import('yaml');
  try {
    return parse(text, { strict: true, uniqueKeys: true }) ?? {};
  } catch (error) {
    throw isleError('invalidConfig', { file: path, message: messageOf(error).split('\n')[0]! }, error);
  }
}

type Kind =
  | 'string'
  | 'path'
  | 'boolean'
  | 'count'
  | 'strings'
  | 'stringMap'
  | 'stringsMap'
  | 'pools'
  | 'ulimits'
  | 'userns'
  | 'idArea'
  | { [key: string]: Kind };

/** The whole schema of the file. */
const schema = {
  dataRoot: 'path',
  runRoot: 'path',
  dockerSocket: 'path',
  instance: 'string',
  logLevel: 'string',
  images: {
    mirrors: 'stringsMap',
    insecureRegistries: 'strings',
    certificateAuthorities: 'stringMap',
    maxConcurrentDownloads: 'count',
    remotes: 'stringMap',
  },
  network: {
    bridgeSubnet: 'string',
    bridgeIPv6Subnet: 'string',
    mtu: 'count',
    addressPools: 'pools',
    dns: 'strings',
    namespacePool: 'count',
  },
  runtime: {
    default: 'string',
    paths: 'stringMap',
    conmon: 'path',
    init: 'path',
    seccompProfile: 'path',
  },
  machine: {
    qemuDirectory: 'path',
    virtiofsd: 'path',
    swtpm: 'path',
  },
  microvm: {
    qemu: 'path',
    virtiofsd: 'path',
    kernelSource: 'path',
    memory: 'count',
    cpus: 'count',
    bootTimeout: 'count',
    pool: 'count',
    machine: 'string',
  },
  containers: {
    logDriver: 'string',
    logOptions: 'stringMap',
    ulimits: 'ulimits',
    init: 'boolean',
    stopTimeout: 'count',
    userns: 'userns',
    usernsIds: 'idArea',
  },
} as const satisfies { [key: string]: Kind };

type FileConfig = Partial<
  Omit<DaemonConfig, 'images' | 'network' | 'runtime' | 'containers' | 'microvm' | 'machine' | 'logLevel'> & {
    logLevel: string;
    images: Partial<ImagesConfig>;
    network: Partial<NetworkConfig>;
    runtime: Partial<RuntimeConfig>;
    containers: Partial<ContainersConfig>;
    microvm: Partial<MicrovmConfig>;
    machine: Partial<MachineConfig>;
  }
>;

function checkFile(value: unknown, file: string): FileConfig {
  check(value, schema, '', file);
  return value as FileConfig;
}

function check(value: unknown, kind: Kind, at: string, file: string): void {
  const wrong = (what: string) =>
    isleError('invalidConfig', { file, message: `${at === '' ? 'the file' : at} must be ${what}` });
  if (typeof kind === 'object') {
    if (!isMap(value)) throw wrong('a map of settings');
    for (const [key, inner] of Object.entries(value)) {
      const path = at === '' ? key : `${at}.${key}`;
      const known = kind[key];
      if (known === undefined || !Object.hasOwn(kind, key)) {
        const message = `unknown setting "${path}"${didYouMean(key, Object.keys(kind))}`;
        throw isleError('invalidConfig', { file, message });
      }
      check(inner, known, path, file);
    }
    return;
  }
  const [fits, what] = leaves[kind];
  if (!fits(value)) throw wrong(what);
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= 1e9;
/** Not a usual user's, and none of the last ones, which stand for nobody. */
const isId = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 65_536 && (value as number) <= 4_294_901_759;

const leaves: Record<Exclude<Kind, object>, [(value: unknown) => boolean, string]> = {
  string: [isText, 'a text'],
  path: [(value) => isText(value) && isAbsolute(value), 'an absolute path'],
  boolean: [(value) => typeof value === 'boolean', 'true or false'],
  count: [isCount, 'a whole number from 0 to 1000000000'],
  strings: [isTexts, 'a list of texts'],
  stringMap: [
    (value) => isMap(value) && Object.values(value).every((item) => typeof item === 'string'),
    'a map of texts',
  ],
  stringsMap: [(value) => isMap(value) && Object.values(value).every(isTexts), 'a map of lists of texts'],
  pools: [
    (value) =>
      Array.isArray(value) && value.every((pool) => isMap(pool) && isText(pool.base) && isCount(pool.size)),
    'a list of pools, each with base (CIDR) and size (prefix length)',
  ],
  userns: [(value) => value === 'auto' || value === 'host', 'auto or host'],
  idArea: [
    (value) =>
      isMap(value) &&
      Object.keys(value).every((key) => key === 'first' || key === 'last') &&
      isId(value.first) &&
      isId(value.last) &&
      value.last - value.first >= 65_535,
    'a map with first and last, ids from 65536 to 4294901759 that are at least 65536 apart',
  ],
  ulimits: [
    (value) =>
      Array.isArray(value) &&
      value.every(
        (limit) => isMap(limit) && isText(limit.name) && isCount(limit.soft) && isCount(limit.hard),
      ),
    'a list of limits, each with name, soft and hard',
  ],
};

function levelOf(text: string): LogLevel {
  const known = ['debug', 'info', 'warn', 'error'] as const;
  const level = known.find((name) => name === text);
  if (level !== undefined) return level;
  const message = `log level "${text}" is none of ${known.join(', ')}${didYouMean(text, known)}`;
  throw isleError('invalidParameter', { message });
}

/** Interface names hold 15 bytes, and the bridge and veth names of an instance start with it. */
function checkInstance(name: string): void {
  if (/^[a-z][a-z0-9]{0,7}$/.test(name)) return;
  const message = `instance "${name}" must be 1 to 8 characters: a lower-case letter, then lower-case letters or digits`;
  throw isleError('invalidParameter', { message });
}

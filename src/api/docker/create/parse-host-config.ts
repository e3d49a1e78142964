import { isIP } from 'node:net';
import type { ContainerSpec, LogConfig, NamespaceMode } from '../../../engine/model.ts';
import { isleError } from '../../../lib/errors.ts';
import { parseUserns } from '../../../lib/userns.ts';
import type { Fields } from '../../http/fields.ts';
import type { ConfigPart } from './parse-config.ts';
import { parseNamespace } from './parse-namespace.ts';
import { parsePortBindings } from './parse-ports.ts';
import {
  parseDeviceRules,
  parseDevices,
  parseResources,
  parseRestartPolicy,
  parseUlimits,
} from './parse-resources.ts';

type HostConfigPart = Omit<
  ContainerSpec,
  keyof ConfigPart | 'mounts' | 'networks' | 'platform' | 'networkDisabled'
>;

/** HostConfig of the specification, without its mounts. Throws `invalidParameter`, `notImplemented`. */
export function parseHostConfig(fields: Fields): HostConfigPart {
  refuseUnsupported(fields);
  const restartPolicy = parseRestartPolicy(fields) ?? { name: 'no', maximumRetryCount: 0 };
  return {
    runtime: fields.text('Runtime'),
    init: fields.optionalFlag('Init'),
    annotations: fields.optionalTextMap('Annotations'),
    volumesFrom: fields.texts('VolumesFrom'),
    readonlyRootfs: fields.flag('ReadonlyRootfs'),
    shmSize: fields.positive('ShmSize'),
    volumeDriver: fields.text('VolumeDriver') || undefined,
    ...parseNetworkPart(fields),
    ...parseIsolation(fields),
    resources: parseResources(fields),
    restartPolicy,
    autoRemove: fields.flag('AutoRemove'),
    logConfig: parseLogConfig(fields),
    consoleSize: parseConsoleSize(fields),
  };
}

function refuseUnsupported(fields: Fields): void {
  fields.refuse('Cgroup');
  const isolation = fields.text('Isolation');
  if (isolation !== '' && isolation !== 'default')
    throw isleError('notImplemented', { what: `HostConfig.Isolation "${isolation}"` });
  const driver = fields.text('VolumeDriver');
  if (driver !== '' && driver !== 'local')
    throw isleError('notImplemented', { what: `the volume driver "${driver}"` });
  const [option] = Object.keys(fields.textMap('StorageOpt'));
  if (option !== undefined) throw isleError('notImplemented', { what: `the storage option "${option}"` });
}

type NetworkPart = 'networkMode' | 'portBindings' | 'publishAllPorts' | 'dns' | 'dnsSearch' | 'dnsOptions';

function parseNetworkPart(fields: Fields): Pick<ContainerSpec, NetworkPart | 'extraHosts' | 'links'> {
  const mode = fields.text('NetworkMode');
  const dns = fields.texts('Dns');
  for (const server of dns)
    if (isIP(server) === 0) throw invalid(`invalid DNS server: "${server}" is not an IP address`);
  const extraHosts = fields.texts('ExtraHosts');
  for (const entry of extraHosts) checkExtraHost(entry);
  const dnsSearch = fields.texts('DnsSearch');
  const dnsOptions = fields.texts('DnsOptions');
  for (const word of [...dnsSearch, ...dnsOptions])
    if (/[\s\0]/.test(word)) throw invalid(`invalid DNS search domain or option: "${word}"`);
  return {
    networkMode: mode === '' || mode === 'default' ? 'bridge' : mode,
    portBindings: parsePortBindings(fields),
    publishAllPorts: fields.flag('PublishAllPorts'),
    dns,
    dnsSearch,
    dnsOptions,
    extraHosts,
    links: fields.texts('Links'),
  };
}

/** `name:address`; the line lands in /etc/hosts, so that it must hold nothing else. */
function checkExtraHost(entry: string): void {
  const at = entry.indexOf(':');
  const name = entry.slice(0, at);
  const address = entry.slice(at + 1).replace(/^\[(.*)\]$/, '$1');
  if (at < 1 || /\s/.test(name) || (address !== 'host-gateway' && isIP(address) === 0))
    throw invalid(`bad format for add-host: "${entry}" (name:address or name:host-gateway)`);
}

type IsolationPart =
  | 'privileged'
  | 'capAdd'
  | 'capDrop'
  | 'securityOpt'
  | 'maskedPaths'
  | 'readonlyPaths'
  | 'groupAdd'
  | 'devices'
  | 'deviceCgroupRules'
  | 'sysctls'
  | 'ulimits'
  | 'oomScoreAdj'
  | 'ipcMode'
  | 'pidMode'
  | 'utsMode'
  | 'usernsMode'
  | 'cgroupnsMode'
  | 'cgroupParent';

function parseIsolation(fields: Fields): Pick<ContainerSpec, IsolationPart> {
  const adjustment = fields.integer('OomScoreAdj');
  const { usernsMode, securityOpt } = parseUsernsMode(fields);
  return {
    privileged: fields.flag('Privileged'),
    capAdd: parseCapabilities(fields, 'CapAdd'),
    capDrop: parseCapabilities(fields, 'CapDrop'),
    securityOpt,
    maskedPaths: fields.optionalTexts('MaskedPaths'),
    readonlyPaths: fields.optionalTexts('ReadonlyPaths'),
    groupAdd: fields.texts('GroupAdd'),
    devices: parseDevices(fields),
    deviceCgroupRules: parseDeviceRules(fields),
    sysctls: fields.textMap('Sysctls'),
    ulimits: parseUlimits(fields),
    oomScoreAdj: adjustment === 0 ? undefined : adjustment,
    ipcMode:
      parseNamespace(fields, 'IpcMode', ['private', 'shareable', 'host', 'none', 'container']) ?? 'private',
    pidMode: parseNamespace(fields, 'PidMode', ['host', 'container']) ?? 'private',
    utsMode: parseNamespace(fields, 'UTSMode', ['host']) ?? 'private',
    usernsMode,
    cgroupnsMode: parseCgroupns(fields),
    cgroupParent: fields.text('CgroupParent'),
  };
}

/** Docker's client lets `--userns` be `host` only: what else there is comes as `--security-opt userns=auto` from there. */
function parseUsernsMode(fields: Fields): { usernsMode: string; securityOpt: string[] } {
  const options = fields.texts('SecurityOpt');
  const own = options.flatMap((option) => /^userns[=:](.*)$/s.exec(option)?.[1] ?? []);
  const usernsMode = fields.text('UsernsMode') || (own.at(-1) ?? '');
  parseUserns(usernsMode);
  return { usernsMode, securityOpt: options.filter((option) => !/^userns[=:]/.test(option)) };
}

function parseCgroupns(fields: Fields): NamespaceMode {
  const mode = parseNamespace(fields, 'CgroupnsMode', ['private', 'host']);
  return mode ?? (fields.flag('Privileged') ? 'host' : 'private');
}

/** With Docker's normal form: `CAP_` and upper case, `ALL` alone. The runtime knows which ones exist. */
function parseCapabilities(fields: Fields, name: string): string[] {
  return fields.texts(name).map((text) => {
    const upper = text.toUpperCase();
    if (!/^[A-Z_]{2,40}$/.test(upper)) throw fields.invalid(name, `invalid capability: "${text}"`);
    return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  });
}

/** An empty driver is the daemon's default one. */
function parseLogConfig(fields: Fields): LogConfig {
  const config = fields.object('LogConfig');
  return { driver: config?.text('Type') ?? '', options: config?.textMap('Config') ?? {} };
}

function parseConsoleSize(fields: Fields): [number, number] | undefined {
  const value = fields.raw('ConsoleSize');
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length !== 2)
    throw fields.invalid('ConsoleSize', 'must be [height, width]');
  const [height, width] = value as unknown[];
  if (!isSize(height) || !isSize(width))
    throw fields.invalid('ConsoleSize', 'must be two numbers from 0 to 65535');
  return height === 0 && width === 0 ? undefined : [height, width];
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 65535;
}

function invalid(message: string): Error {
  return isleError('invalidParameter', { message });
}

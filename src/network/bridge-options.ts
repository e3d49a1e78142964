import { isleError } from '../lib/errors.ts';
import { canonical } from '../lib/address.ts';

/** A bridge network's settings, read from the options Docker's bridge driver knows. */
export interface BridgeOptions {
  /** Undefined: made from the network's id. */
  bridge?: string;
  mtu?: number;
  icc: boolean;
  masquerade: boolean;
  /** Where ports without a host address are published. */
  hostBinding?: string;
  /** `eth` unless chosen. */
  interfacePrefix: string;
}

const prefix = 'com.docker.network.';

/** Throws `invalidParameter` for a bad value and `notImplemented` for an option Isle does not have. */
export function parseBridgeOptions(options: Readonly<Record<string, string>>): BridgeOptions {
  const parsed: BridgeOptions = { icc: true, masquerade: true, interfacePrefix: 'eth' };
  for (const [key, value] of Object.entries(options)) {
    const known = key.startsWith(prefix) ? readers[key.slice(prefix.length)] : undefined;
    if (known === undefined) throw isleError('notImplemented', { what: `the network option ${key}` });
    known(parsed, value, key);
  }
  return parsed;
}

/** A name the kernel takes for a link. */
export function isLinkName(name: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$/.test(name);
}

type Reader = (parsed: BridgeOptions, value: string, key: string) => void;

const readers: Record<string, Reader> = {
  'bridge.name': (parsed, value, key) => {
    if (!isLinkName(value)) refuse(key, value, 'a name of at most 15 letters, digits, ".", "_" and "-"');
    parsed.bridge = value;
  },
  'driver.mtu': (parsed, value, key) => {
    const mtu = Number(value);
    if (!/^\d+$/.test(value) || mtu < 68 || mtu > 65535) refuse(key, value, 'a number from 68 to 65535');
    parsed.mtu = mtu;
  },
  'bridge.enable_icc': (parsed, value, key) => {
    parsed.icc = readBoolean(value, key);
  },
  'bridge.enable_ip_masquerade': (parsed, value, key) => {
    parsed.masquerade = readBoolean(value, key);
  },
  'bridge.host_binding_ipv4': (parsed, value, key) => {
    const address = canonical(value) ?? refuse(key, value, 'an IPv4 address');
    if (address.includes(':')) refuse(key, value, 'an IPv4 address');
    if (address !== '0.0.0.0') parsed.hostBinding = address;
  },
  container_iface_prefix: (parsed, value, key) => {
    if (!/^[a-zA-Z][a-zA-Z0-9_-]{0,9}$/.test(value)) refuse(key, value, 'at most 10 letters and digits');
    parsed.interfacePrefix = value;
  },
  // Docker's own default network carries it; it decides nothing here.
  'bridge.default_bridge': (_parsed, value, key) => void readBoolean(value, key),
  'bridge.gateway_mode_ipv4': onlyNat,
  'bridge.gateway_mode_ipv6': onlyNat,
};

function onlyNat(_parsed: BridgeOptions, value: string, key: string): void {
  if (value !== 'nat' && value !== '')
    throw isleError('notImplemented', { what: `${key}=${value} (nat is)` });
}

function readBoolean(value: string, key: string): boolean {
  if (/^(1|t|true)$/i.test(value)) return true;
  if (/^(0|f|false)$/i.test(value)) return false;
  return refuse(key, value, 'true or false');
}

function refuse(key: string, value: string, want: string): never {
  throw isleError('invalidParameter', {
    message: `invalid value "${value}" for the network option ${key}: give ${want}`,
  });
}

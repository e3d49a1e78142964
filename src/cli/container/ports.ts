import { isIP } from 'node:net';
import { Failure } from '../failure.ts';
import { parseCsv } from './csv.ts';

export interface PortBindingBody {
  HostIp: string;
  HostPort: string;
}

export interface Ports {
  exposed: Record<string, object>;
  bindings: Record<string, PortBindingBody[]>;
}

/** `-p` and `--expose`. */
export function parsePorts(published: readonly string[], exposed: readonly string[]): Ports {
  const ports: Ports = { exposed: {}, bindings: {} };
  for (const given of published) publish(ports, given.includes('=') ? fromLongForm(given) : given);
  for (const given of exposed) expose(ports, given);
  return ports;
}

/** `[[address:]host:]container[/protocol]`, each port a range if need be. */
function publish(ports: Ports, given: string): void {
  const { bare, protocol } = splitProtocol(given);
  const match = /^(?:(?:(\[[^\]]*\]|[^:[\]]*):)?([^:]*):)?([^:]+)$/.exec(bare);
  if (!match) {
    if (/^[^:]*$/.test(bare)) throw new Failure(`no port specified: ${given}<empty>`);
    throw new Failure(`invalid port specification: ${given}`);
  }
  const [, addressText = '', hostText = '', containerText = ''] = match;
  const address = addressText.replace(/^\[|\]$/g, '');
  if (address !== '' && isIP(address) === 0) throw new Failure(`invalid IP address: ${address}`);
  const container = parseRange(containerText, 'containerPort');
  const host = hostText === '' ? undefined : parseRange(hostText, 'hostPort');
  const spread = host !== undefined && sizeOf(host) !== sizeOf(container);
  if (spread && sizeOf(container) !== 1)
    throw new Failure(
      `invalid ranges specified for container and host Ports: ${containerText} and ${hostText}`,
    );
  for (let offset = 0; offset < sizeOf(container); offset++) {
    const key = `${container.first + offset}/${protocol}`;
    const hostPort = host === undefined ? '' : spread ? hostText : String(host.first + offset);
    ports.exposed[key] = {};
    (ports.bindings[key] ??= []).push({ HostIp: address, HostPort: hostPort });
  }
}

/** `target=80,published=8080,protocol=udp`. */
function fromLongForm(given: string): string {
  let target = '';
  let published = '';
  let protocol = 'tcp';
  for (const field of parseCsv(given)) {
    const [key = '', value] = field.toLowerCase().split('=', 2);
    if (value === undefined || value === '') throw new Failure(`invalid field: ${field}`);
    if (key === 'target') target = value;
    else if (key === 'published') published = value;
    else if (key === 'protocol') protocol = value;
    else if (key !== 'mode') throw new Failure(`invalid field key: ${key}`);
  }
  if (target === '') throw new Failure(`missing mandatory field "target": ${given}`);
  return `${published === '' ? '' : `${published}:`}${target}/${protocol}`;
}

function expose(ports: Ports, given: string): void {
  if (given.includes(':')) throw new Failure(`invalid port format for --expose: ${given}`);
  const { bare, protocol } = splitProtocol(given);
  let range: Range;
  try {
    range = parseRange(bare, 'port');
  } catch (cause) {
    throw new Failure(`invalid range format for --expose: ${bare}`, { cause });
  }
  for (let port = range.first; port <= range.last; port++) ports.exposed[`${port}/${protocol}`] ??= {};
}

function splitProtocol(given: string): { bare: string; protocol: string } {
  const at = given.indexOf('/');
  const protocol = at < 0 ? 'tcp' : given.slice(at + 1).toLowerCase();
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) throw new Failure(`invalid proto: ${protocol}`);
  return { bare: at < 0 ? given : given.slice(0, at), protocol };
}

interface Range {
  first: number;
  last: number;
}

const sizeOf = (range: Range) => range.last - range.first + 1;

function parseRange(text: string, what: string): Range {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || first > 65535 || last > 65535 || last < first) throw new Failure(`invalid ${what}: ${text}`);
  return { first, last };
}

import { isIP } from 'node:net';
import type { PortBinding, PortKey } from '../../../engine/model.ts';
import { isleError } from '../../../lib/errors.ts';
import type { Fields } from '../../http/fields.ts';

/** `ExposedPorts`: `{"80/tcp": {}}`; a range exposes each of its ports. Throws `invalidParameter`. */
export function parseExposedPorts(config: Fields): PortKey[] {
  return config.keys('ExposedPorts').flatMap(parsePortKeys);
}

/** `PortBindings`: `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`. Throws `invalidParameter`. */
export function parsePortBindings(hostConfig: Fields): PortBinding[] {
  return hostConfig.listMap('PortBindings').flatMap(([key, bindings]) =>
    parsePortKeys(key).flatMap((port) =>
      // An exposed port without a binding is published to a random one, as `-p 80` is.
      bindings.length === 0
        ? [{ ...port, hostIp: '', hostPort: 0 }]
        : bindings.map((binding) => ({ ...port, ...parseHostSide(binding) })),
    ),
  );
}

/** `80`, `80/udp`, `8000-8002/tcp` */
export function parsePortKeys(text: string): PortKey[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/([a-zA-Z]+))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  const protocol = (match?.[3] ?? 'tcp').toLowerCase();
  if (!match || !isPort(first) || !isPort(last) || first > last) throw invalid(`invalid port: "${text}"`);
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp')
    throw invalid(`invalid port "${text}": the protocol must be tcp, udp or sctp`);
  return Array.from({ length: last - first + 1 }, (_, index) => ({ port: first + index, protocol }));
}

function parseHostSide(binding: Fields): Pick<PortBinding, 'hostIp' | 'hostPort' | 'hostPortEnd'> {
  const hostIp = binding.text('HostIp').replace(/^\[(.*)\]$/, '$1');
  if (hostIp !== '' && isIP(hostIp) === 0) throw invalid(`invalid IP address: "${hostIp}"`);
  const text = binding.text('HostPort');
  if (text === '') return { hostIp, hostPort: 0 };
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || first > 65535 || last > 65535 || first > last)
    throw invalid(`invalid port specification: "${text}"`);
  return last > first ? { hostIp, hostPort: first, hostPortEnd: last } : { hostIp, hostPort: first };
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}

function invalid(message: string): Error {
  return isleError('invalidParameter', { message });
}

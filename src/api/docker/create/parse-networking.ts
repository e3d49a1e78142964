import { isIP } from 'node:net';
import type { EndpointSpec } from '../../../engine/model.ts';
import { isleError } from '../../../lib/errors.ts';
import type { Fields } from '../../http/fields.ts';

/** NetworkingConfig: `{"EndpointsConfig": {"net": {…}}}`. Throws `invalidParameter`. */
export function parseNetworking(networking: Fields | undefined): Record<string, EndpointSpec> {
  const entries = networking?.objectMap('EndpointsConfig') ?? [];
  return Object.fromEntries(
    entries.map(([name, endpoint]) => [
      name === 'default' ? 'bridge' : name,
      endpoint ? parseEndpoint(endpoint) : {},
    ]),
  );
}

/** EndpointSettings, of which what Docker itself fills in is not read. Throws `invalidParameter`. */
export function parseEndpoint(endpoint: Fields): EndpointSpec {
  const ipam = endpoint.object('IPAMConfig');
  const spec: EndpointSpec = {
    aliases: nonEmpty(endpoint.texts('Aliases').map(checkAlias)),
    ipv4Address: address(ipam, 'IPv4Address', 4),
    ipv6Address: address(ipam, 'IPv6Address', 6),
    linkLocalIps: nonEmpty(ipam?.texts('LinkLocalIPs') ?? []),
    macAddress: parseMac(endpoint),
    links: nonEmpty(endpoint.texts('Links')),
    driverOptions: endpoint.optionalTextMap('DriverOpts'),
    gwPriority: endpoint.positive('GwPriority'),
  };
  return Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== undefined));
}

export function parseMac(fields: Fields): string | undefined {
  const text = fields.text('MacAddress');
  if (text === '') return undefined;
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text))
    throw fields.invalid('MacAddress', `"${text}" is not like 02:42:ac:11:00:02`);
  return text.toLowerCase().replaceAll('-', ':');
}

function address(ipam: Fields | undefined, name: string, family: 4 | 6): string | undefined {
  const text = ipam?.text(name) ?? '';
  if (text === '') return undefined;
  if (isIP(text) !== family)
    throw isleError('invalidParameter', {
      message: `invalid ${name}: "${text}" is not an IPv${family} address`,
    });
  return text;
}

/** Aliases are answered by the resolver and written to files: no white space, no control characters. */
function checkAlias(alias: string): string {
  if (!/^[\p{L}\p{N}\p{P}\p{S}]{1,253}$/u.test(alias))
    throw isleError('invalidParameter', { message: `invalid network alias: "${alias}"` });
  return alias;
}

function nonEmpty<T>(list: T[]): T[] | undefined {
  return list.length === 0 ? undefined : list;
}

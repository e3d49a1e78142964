import type { ContainerSpec } from '../../../engine/model.ts';
import { isleError } from '../../../lib/errors.ts';
import { Fields } from '../../http/fields.ts';
import type { Query } from '../../http/query.ts';
import { parseConfig } from './parse-config.ts';
import { parseHostConfig } from './parse-host-config.ts';
import { parseMounts } from './parse-mounts.ts';
import { parseMac, parseNetworking } from './parse-networking.ts';

/** The body of `POST /containers/create`. Throws `invalidParameter`, `notImplemented`. */
export function parseContainer(body: Fields, query: Query): ContainerSpec {
  const hostConfig = body.object('HostConfig') ?? new Fields({}, 'HostConfig');
  const config = parseConfig(body);
  const spec: ContainerSpec = {
    ...config,
    ...parseHostConfig(hostConfig),
    macAddress: parseMac(body),
    mounts: parseMounts(body, hostConfig),
    networks: parseNetworking(body.object('NetworkingConfig')),
    platform: query.optional('platform'),
  };
  checkTogether(spec);
  return spec;
}

/** Throws `invalidName`. */
export function parseContainerName(text: string): string | undefined {
  const name = text.replace(/^\//, '');
  if (name === '') return undefined;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/.test(name))
    throw isleError('invalidName', { kind: 'container', name });
  return name;
}

/** What the engine's words can no longer tell apart; the rest of Docker's rules is the engine's. */
function checkTogether(spec: ContainerSpec): void {
  const mode = spec.networkMode;
  const shared = mode.startsWith('container:');
  const conflict = (what: string): Error =>
    isleError('invalidParameter', { message: `conflicting options: ${what}` });
  if (mode === 'container:') throw conflict('container type network without a container');
  if (spec.utsMode === 'host' && spec.hostname !== '') throw conflict('hostname and the UTS mode');
  if (shared && spec.exposedPorts.length > 0)
    throw conflict('port exposing and the container type network mode');
  if (mode === 'host' && spec.links.length > 0)
    throw conflict("host type networking can't be used with links");
}

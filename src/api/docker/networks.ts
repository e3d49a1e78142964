import { isIP } from 'node:net';
import type { Engine } from '../../engine/engine.ts';
import type { IpamPool, NetworkSpec } from '../../network/network.ts';
import { isleError } from '../../lib/errors.ts';
import type { Call, Route } from '../http/call.ts';
import type { Fields } from '../http/fields.ts';
import { parseFilters } from '../http/filters.ts';
import { json, noContent, type Reply } from '../http/reply.ts';
import { parseEndpoint } from './create/parse-networking.ts';
import { filterNetworks, networkFilters } from './network-filters.ts';
import { renderNetwork } from './render-network.ts';

export function networkRoutes(engine: Engine): Route[] {
  const { networks } = engine;
  return [
    {
      method: 'GET',
      path: '/networks',
      handle(call) {
        const filters = parseFilters(call.query, networkFilters);
        return json(
          filterNetworks(networks.list(), filters).map((network) => renderNetwork(network, undefined)),
        );
      },
    },
    {
      method: 'GET',
      path: '/networks/:id',
      handle(call) {
        const scope = call.query.text('scope');
        const network = networks.get(call.param('id'));
        if (scope !== '' && scope !== 'local') throw isleError('noSuchNetwork', { id: call.param('id') });
        return json(renderNetwork(network, namesOf(engine)));
      },
    },
    { method: 'POST', path: '/networks/create', handle: (call) => createNetwork(engine, call) },
    {
      method: 'DELETE',
      path: '/networks/:id',
      async handle(call) {
        await networks.remove(call.param('id'));
        return noContent();
      },
    },
    {
      method: 'POST',
      path: '/networks/:id/connect',
      async handle(call) {
        const body = await call.json();
        const endpoint = body.object('EndpointConfig');
        await networks.connect(call.param('id'), containerOf(body), endpoint ? parseEndpoint(endpoint) : {});
        return noContent(200);
      },
    },
    {
      method: 'POST',
      path: '/networks/:id/disconnect',
      async handle(call) {
        const body = await call.json();
        await networks.disconnect(call.param('id'), containerOf(body), body.flag('Force'));
        return noContent(200);
      },
    },
    {
      method: 'POST',
      path: '/networks/prune',
      async handle(call) {
        const filters = parseFilters(call.query, ['label', 'label!', 'until']);
        return json({ NetworksDeleted: await networks.prune(filters) });
      },
    },
  ];
}

function namesOf(engine: Engine): (podId: string) => string {
  const names = new Map(engine.containers.list().map((container) => [container.id, container.name]));
  return (podId) => names.get(podId) ?? '';
}

function containerOf(body: Fields): string {
  const container = body.text('Container');
  if (container === '') throw isleError('invalidParameter', { message: 'Container: no container named' });
  return container;
}

async function createNetwork(engine: Engine, call: Call): Promise<Reply> {
  const body = await call.json();
  const { id, warning } = await engine.networks.create(parseNetwork(body), body.flag('CheckDuplicate'));
  return json({ Id: id, Warning: warning }, 201);
}

/** The body of `POST /networks/create`. Throws `invalidParameter`, `notImplemented`. */
export function parseNetwork(body: Fields): NetworkSpec {
  body.refuse('Ingress', 'ConfigOnly', 'ConfigFrom');
  const name = body.text('Name');
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/.test(name))
    throw isleError('invalidName', { kind: 'network', name });
  const scope = body.text('Scope');
  if (scope !== '' && scope !== 'local')
    throw isleError('notImplemented', { what: `the network scope "${scope}"` });
  const ipam = body.object('IPAM');
  return {
    name,
    driver: body.text('Driver') || 'bridge',
    internal: body.flag('Internal'),
    attachable: body.flag('Attachable'),
    enableIPv4: body.optionalFlag('EnableIPv4') ?? true,
    enableIPv6: body.flag('EnableIPv6'),
    ipam: {
      driver: ipam?.text('Driver') || 'default',
      config: ipam?.objects('Config').map(parsePool) ?? [],
      options: ipam?.textMap('Options') ?? {},
    },
    options: body.textMap('Options'),
    labels: body.textMap('Labels'),
  };
}

function parsePool(pool: Fields): IpamPool {
  const auxiliary = pool.textMap(pool.has('AuxiliaryAddresses') ? 'AuxiliaryAddresses' : 'AuxAddress');
  const gateway = pool.text('Gateway').replace(/\/\d+$/, '');
  if (gateway !== '' && isIP(gateway) === 0)
    throw pool.invalid('Gateway', `"${gateway}" is not an IP address`);
  for (const address of Object.values(auxiliary))
    if (isIP(address) === 0) throw pool.invalid('AuxiliaryAddresses', `"${address}" is not an IP address`);
  return {
    subnet: cidr(pool, 'Subnet') ?? '',
    ipRange: cidr(pool, 'IPRange'),
    gateway: gateway || undefined,
    auxiliaryAddresses: Object.keys(auxiliary).length > 0 ? auxiliary : undefined,
  };
}

function cidr(pool: Fields, name: string): string | undefined {
  const text = pool.text(name);
  if (text === '') return undefined;
  const [address = '', length = ''] = text.split('/');
  const family = isIP(address);
  if (family === 0 || !/^\d{1,3}$/.test(length) || Number(length) > (family === 4 ? 32 : 128))
    throw pool.invalid(name, `"${text}" is not a network such as 10.1.0.0/16`);
  return text;
}

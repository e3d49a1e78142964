import type { EndpointSpec, PortBinding } from '../engine/model.ts';
import { isleError } from '../lib/errors.ts';
import { checkEndpointSpec } from './endpoints.ts';
import { parseDnsServer } from './files.ts';
import { isHostName, parseExtraHosts } from './hosts-file.ts';
import type { AttachRequest } from './network.ts';
import type { LiveNetwork } from './networks.ts';
import type { SlotKindName } from './slots.ts';

export interface WantedEndpoint {
  network: LiveNetwork;
  spec: EndpointSpec;
}

/** The prepared namespace that fits best. */
export function kindOf(wanted: WantedEndpoint[]): SlotKindName {
  const [first] = wanted;
  const bridges = wanted.filter(({ network }) => network.record.driver === 'bridge');
  if (first && first.network.record.builtIn && bridges.length > 0 && !first.spec.macAddress) {
    if (Object.keys(first.spec.driverOptions ?? {}).length === 0) return 'default';
  }
  return bridges.some(({ network }) => !network.record.builtIn) ? 'resolver' : 'plain';
}

/** Throws `invalidParameter`, `notImplemented` for what cannot be had. */
export function checkRequest(request: AttachRequest, wanted: WantedEndpoint[]): void {
  for (const { network, spec } of wanted) checkEndpointSpec(network, spec);
  const ids = wanted.map(({ network }) => network.record.id);
  if (new Set(ids).size !== ids.length) refuse('a network is named twice');
  const alone = wanted.find(({ network }) => network.record.driver !== 'bridge');
  if (alone && wanted.length > 1)
    refuse(`network ${alone.network.record.name} cannot be combined with others`);
  if (request.hostname !== '' && !isHostName(request.hostname))
    refuse(`invalid hostname "${request.hostname}"`);
  if (request.domainname !== '' && !isHostName(request.domainname))
    refuse(`invalid domain name "${request.domainname}"`);
  for (const server of request.dns)
    if (!parseDnsServer(server)) refuse(`invalid DNS server "${server}": give an address`);
  for (const domain of request.dnsSearch)
    if (domain !== '.' && !isHostName(domain)) refuse(`invalid DNS search domain "${domain}"`);
  for (const option of request.dnsOptions)
    if (!/^[a-zA-Z0-9:_.-]{1,64}$/.test(option)) refuse(`invalid DNS option "${option}"`);
  parseExtraHosts(request.extraHosts, ['0.0.0.0']);
}

/** The ports to publish: those given, and with `publishAllPorts` the exposed ones. */
export function wantedPorts({ ports, exposedPorts, publishAllPorts }: AttachRequest): PortBinding[] {
  if (!publishAllPorts) return ports;
  const isPublished = (port: number, protocol: string): boolean =>
    ports.some((binding) => binding.port === port && binding.protocol === protocol);
  const open = exposedPorts.filter(({ port, protocol }) => !isPublished(port, protocol));
  return [...ports, ...open.map((key) => ({ ...key, hostIp: '', hostPort: 0 }))];
}

function refuse(message: string): never {
  throw isleError('invalidParameter', { message });
}

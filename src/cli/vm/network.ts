import type { EndpointBody } from '../container/networks.ts';
import { parseMac } from '../container/networks.ts';
import { parseIp } from '../container/hosts.ts';
import { Failure } from '../failure.ts';
import { SubOptions } from './sub-options.ts';

/** One network card. */
export interface AskedNic {
  /** `none`: no card at all. */
  network: string;
  /** Absent: what the guest's system knows. */
  model?: string;
  endpoint: EndpointBody;
  bootOrder?: number;
  notes: string[];
}

const models = ['virtio', 'e1000', 'e1000e', 'rtl8139', 'vmxnet3', 'pcnet', 'ne2k_pci', 'i82551', 'igb'];

/** `NAME`, `network=NAME,model=virtio,mac=…`, `none`. */
export function parseNic(given: string): AskedNic {
  const options = new SubOptions(given, 'network');
  const named = options.text('network', 'source.network', 'name');
  const bridge = options.text('bridge', 'source.bridge');
  options.refuse('source', 'machines are on networks of Isle’s: isle network create');
  const type = options.text('type');
  if (type !== undefined && type !== 'network' && type !== 'bridge')
    throw new Failure(
      `type=${type} is not supported: machines are on networks of Isle's (isle network create)`,
    );
  const model = options.text('model', 'model.type');
  const mac = options.text('mac', 'mac.address');
  const endpoint: EndpointBody = {};
  const ip = options.text('ip');
  const ip6 = options.text('ip6');
  const alias = options.text('alias');
  const bootOrder = options.integer('boot_order', 'boot.order');
  options.ignore(
    'Isle chooses',
    'target',
    'target.dev',
    'driver.name',
    'driver_name',
    'driver_queues',
    'driver.queues',
    'mtu',
    'mtu.size',
    'filterref',
    'address.type',
    'trustGuestRxFilters',
    'portgroup',
    'virtualport_type',
  );
  options.end();
  if (ip !== undefined || ip6 !== undefined)
    endpoint.IPAMConfig = {
      ...(ip !== undefined && { IPv4Address: parseIp(ip, 'invalid IP address') }),
      ...(ip6 !== undefined && { IPv6Address: parseIp(ip6, 'invalid IP address') }),
    };
  if (alias !== undefined) endpoint.Aliases = alias.split(/[ ;]/);
  if (mac !== undefined && mac.toUpperCase() !== 'RANDOM') endpoint.MacAddress = parseMac(mac);
  return {
    network: networkOf(named, bridge),
    endpoint,
    notes: options.notes,
    ...(model !== undefined && { model: modelOf(model) }),
    ...(bootOrder !== undefined && { bootOrder }),
  };
}

function networkOf(named: string | undefined, bridge: string | undefined): string {
  if (bridge !== undefined && bridge !== 'virbr0' && bridge !== 'isle0')
    throw new Failure(
      `bridge=${bridge}: machines are not put on bridges of the host; make a network (isle network create NAME) and say --network NAME`,
    );
  // libvirt's bridge of its network "default" stands for "the usual one" in people's notes.
  const name = named ?? 'default';
  if (name === 'user' || name === 'passt')
    throw new Failure(
      `${name} networking is not needed here: leave --network out, and publish ports with -p`,
    );
  if (name === 'host' || name.startsWith('container:'))
    throw new Failure(
      `a machine has a kernel of its own and cannot use the network of ${name === 'host' ? 'the host' : 'a container'}`,
    );
  if (name === '') throw new Failure('no name of a network');
  return name;
}

function modelOf(model: string): string {
  const name = model.toLowerCase().replace(/^virtio(-net(-pci)?)?$/, 'virtio');
  if (models.includes(name)) return name;
  throw new Failure(`unknown model "${model}" (there are ${models.join(', ')})`);
}

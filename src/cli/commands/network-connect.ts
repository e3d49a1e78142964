import { defineCommand } from '../command.ts';
import { toMap } from '../container/environment.ts';
import { toEndpoint } from '../container/networks.ts';
import { commaList, integer, list, text } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NETWORK CONTAINER',
  examples: [{ run: 'network connect --alias db backend postgres', does: 'found as db by the others there' }],
  flags: {
    alias: commaList('Further name on this network'),
    'driver-opt': commaList('Driver options'),
    'gw-priority': integer('The network with the highest provides the default gateway'),
    ip: text('IPv4 address'),
    ip6: text('IPv6 address'),
    link: list('Name another container here (container[:alias])'),
    'link-local-ip': commaList('Link-local addresses'),
  },
  args: [2, 2],
  complete: ['network', 'container'],
  async run({ client }, { args: [network = '', container = ''], flags }) {
    await client.post(`/networks/${encodeURIComponent(network)}/connect`, {
      body: {
        Container: container,
        EndpointConfig: toEndpoint({
          target: network,
          aliases: flags.alias,
          links: flags.link,
          linkLocalIps: flags['link-local-ip'],
          ...(flags['driver-opt'].length > 0 && { driverOptions: toMap(flags['driver-opt']) }),
          ...(flags.ip !== undefined && { ip: flags.ip }),
          ...(flags.ip6 !== undefined && { ip6: flags.ip6 }),
          ...(flags['gw-priority'] !== undefined && { gwPriority: flags['gw-priority'] }),
        }),
      },
    });
  },
});

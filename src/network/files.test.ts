import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { renderFiles } from './files.ts';
import { HostResolver, parseResolvConf, type HostResolverSettings } from './host-resolver.ts';
import { formatHosts, isHostName, parseExtraHosts } from './hosts-file.ts';
import type { StoredEndpoint, StoredPod } from './records.ts';

const host: HostResolverSettings = {
  nameservers: ['192.0.2.53'],
  reachable: ['192.0.2.53'],
  search: ['corp.example'],
  options: ['ndots:3', 'edns0'],
};

test('a pod of the default network gets the host’s resolvers, one of a user-defined network Isle’s', () => {
  const plain = renderFiles(pod([endpoint([])]), { config: {}, host, gateways: [] });
  assert.equal(plain.resolvConf, 'nameserver 192.0.2.53\nsearch corp.example\noptions ndots:3 edns0\n');
  const named = renderFiles(pod([endpoint(['web'])]), { config: {}, host, gateways: [] });
  assert.equal(named.resolvConf, 'nameserver 127.0.0.11\nsearch corp.example\noptions edns0 ndots:0\n');
});

test('where the host’s only resolver is its own loopback, the daemon asks it for the pod', () => {
  const local = { ...host, nameservers: ['127.0.0.1'], reachable: [] };
  const { resolvConf } = renderFiles(pod([endpoint([])]), { config: {}, host: local, gateways: [] });
  assert.match(resolvConf, /^nameserver 127\.0\.0\.11\n/);
});

test('what the user chose goes before what the host has', () => {
  const request = { dns: ['9.9.9.9'], dnsSearch: ['.'], dnsOptions: ['timeout:1'] };
  const { resolvConf } = renderFiles(pod([endpoint([])], request), { config: {}, host, gateways: [] });
  assert.equal(resolvConf, 'nameserver 9.9.9.9\noptions timeout:1\n');
  const configured = renderFiles(pod([endpoint([])]), { config: { dns: ['8.8.4.4'] }, host, gateways: [] });
  assert.match(configured.resolvConf, /^nameserver 8\.8\.4\.4\n/);
});

test('the hosts file has the pod’s names, extra hosts, and IPv6 only where the pod has it', () => {
  const extraHosts = parseExtraHosts(['db:10.0.0.9', 'gw:host-gateway', 'six=[fd00::1]'], ['172.17.0.1']);
  const options = { hostname: 'box', domainname: 'example', addresses: ['10.0.0.2'], extraHosts };
  assert.equal(
    formatHosts({ ...options, ipv6: false }),
    '127.0.0.1\tlocalhost\n10.0.0.9\tdb\n172.17.0.1\tgw\nfd00::1\tsix\n10.0.0.2\tbox.example box\n',
  );
  assert.match(formatHosts({ ...options, ipv6: true }), /::1\tlocalhost ip6-localhost/);
});

test('nothing that a user types breaks out of its line', () => {
  for (const entry of [
    'a',
    'a:',
    ':1.2.3.4',
    'a b:1.2.3.4',
    'a:1.2.3.4\n9.9.9.9\tbank',
    'a:1.2.3',
    '-a:1.2.3.4',
  ])
    assert.throws(() => parseExtraHosts([entry], []), /bad format for add-host/, entry);
  fc.assert(fc.property(fc.string(), (text) => !isHostName(text) || /^[\w.-]+$/.test(text)));
});

test('the host’s settings are read again when a file changes; a stub gives its upstream servers', () => {
  const directory = mkdtempSync('/tmp/isle-resolv-');
  const paths = { own: join(directory, 'own'), upstream: join(directory, 'upstream') };
  const resolver = new HostResolver(paths);
  assert.deepEqual(resolver.current().nameservers, []);
  writeFileSync(paths.own, '# stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n');
  writeFileSync(paths.upstream, 'nameserver 192.0.2.1\nnameserver 127.0.0.1\nnameserver fe80::1%2\n');
  assert.deepEqual(resolver.current(), {
    nameservers: ['127.0.0.53'],
    reachable: ['192.0.2.1'],
    search: ['lan'],
    options: ['edns0', 'trust-ad'],
  });
  rmSync(directory, { recursive: true });
});

test('any text is a resolv.conf, with only addresses as servers', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => parseResolvConf(text).nameservers.length >= 0),
  );
  assert.deepEqual(parseResolvConf('nameserver x\nnameserver 1.1.1.1 ; c\n;nameserver 2.2.2.2').nameservers, [
    '1.1.1.1',
  ]);
});

function endpoint(dnsNames: string[]): StoredEndpoint {
  return {
    endpointId: 'e',
    networkId: 'n',
    networkName: 'net',
    interfaceName: 'eth0',
    macAddress: '02:42:0a:00:00:02',
    ipv4: { address: '10.0.0.2', prefixLength: 24, gateway: '10.0.0.1' },
    aliases: [],
    dnsNames,
    driverOptions: {},
    hostLink: 'veth',
    gwPriority: 0,
    links: [],
  };
}

function pod(endpoints: StoredEndpoint[], request: Partial<StoredPod['request']> = {}): StoredPod {
  return {
    podId: 'p',
    namespace: 'ns',
    endpoints,
    ports: [],
    request: {
      name: 'box',
      hostname: 'box',
      domainname: '',
      networks: [],
      ports: [],
      exposedPorts: [],
      publishAllPorts: false,
      dns: [],
      dnsSearch: [],
      dnsOptions: [],
      extraHosts: [],
      sysctls: {},
      ...request,
    },
  };
}

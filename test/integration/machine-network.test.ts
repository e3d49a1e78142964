import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { removeTap, wireGuest, type WiredLink } from '../../src/host/guest-link.ts';
import { listLinks } from '../../src/host/netlink.ts';
import type { Attachment, Network } from '../../src/network/network.ts';
import {
  attachRequest,
  inPod,
  networkSpec,
  openNetwork,
  serveTcp,
  tcpFromHost,
  type NetworkFixture,
} from '../fixtures/network.ts';
import { bootNetworkGuest, cardsOf, type NetworkGuest } from '../fixtures/network-guest.ts';
import { startTapGuest, type TapGuest } from '../fixtures/tap-guest.ts';

const owner = 1_531_072;

describe('a guest that configures itself', () => {
  let fixture: NetworkFixture;
  let network: Network;
  let vm: Attachment;
  let box: Attachment;
  let links: WiredLink[];
  let guest: TapGuest;
  before(async () => {
    fixture = await openNetwork({ pool: 0 });
    network = fixture.network;
    await network.create(networkSpec('both', { enableIPv6: true }));
    const on = { networks: [{ network: 'both', endpoint: {} }] };
    const ports = [{ port: 80, protocol: 'tcp' as const, hostIp: '', hostPort: 0 }];
    vm = await network.attach(
      'vm',
      attachRequest({
        name: 'vm',
        hostname: 'machine',
        domainname: 'example.test',
        guest: true,
        ports,
        ...on,
      }),
    );
    box = await network.attach('box', attachRequest({ name: 'box', hostname: 'box', ...on }));
    links = await wireGuest(vm.netnsPath!, { owner, configuresItself: true });
    await network.serveGuest('vm');
    guest = await startTapGuest(vm.netnsPath!, links[0]!);
  });
  after(async () => {
    await guest?.close();
    assert.deepEqual(await fixture.dispose(), [], 'nothing is left on the host');
  });
  const inside = async (line: string): Promise<string> => {
    const { code, output } = await guest.exec(line);
    assert.equal(code, 0, `${line}: ${output}`);
    return output;
  };
  const own = () => vm.endpoints[0]!;
  const udhcpc = 'busybox udhcpc -f -q -n -t 5 -T 2 -i eth0 -s ./udhcpc -O mtu -O search';

  /** The client of many distributions; it ends when it has an address. */
  const dhclient = (version: 4 | 6): string =>
    `touch leases${version}; dhclient -${version} -1 -v -lf $PWD/leases${version} -pf $PWD/pid${version} -sf $PWD/dhclient-script eth0 || exit 1; sleep 1; kill $(cat pid${version}) || true`;

  test('is given the address that the network has for it, and all that belongs to it', async () => {
    const said = await inside(`${udhcpc}; cat got`);
    const { address, gateway } = own().ipv4!;
    for (const text of [
      `ip='${address}'`,
      `router='${gateway}'`,
      `dns='${gateway}'`,
      `serverid='${gateway}'`,
      `subnet='255.255.`,
      `hostname='machine'`,
      `domain='example.test'`,
      `lease='604800'`,
    ])
      assert.ok(said.includes(text), `${text} in ${said}`);
    assert.match(said, /mtu='\d+'/);
  });

  test('is reached at its published port by IPv6, too, though it has none', async () => {
    const server = guest.serve('busybox nc -ll -p 80 -e echo from the guest');
    const { hostPort } = vm.ports[0]!;
    for (const host of ['127.0.0.1', '::1'])
      await eventually(async () => (await tcpFromHost(host, hostPort)) === 'from the guest\n');
    server.kill();
    await eventually(async () => (await tcpFromHost('127.0.0.1', hostPort)) === '');
  });

  test('reaches its gateway, its neighbours and their names', async () => {
    await inside(`busybox ping -c1 -W9 ${own().ipv4!.gateway}`);
    const found = await inside('busybox nslookup box');
    assert.ok(found.includes(box.endpoints[0]!.ipv4!.address), found);
    assert.ok(found.includes(box.endpoints[0]!.ipv6!.address), found);
    const names = (await inPod(box, 'nslookup', 'vm', '127.0.0.11')).output;
    assert.ok(names.includes(own().ipv4!.address) && !names.includes(own().ipv6!.address), names);
    for (const name of ['box', 'box.both', 'box.example.test', 'machine'])
      assert.match(await inside(`busybox nslookup -type=a ${name}.`), /Address: \d+\.\d+\.\d+\.\d+\n/, name);
    const server = await serveTcp(box, 81, 'from the container', '::');
    assert.match(await inside('busybox nc box 81 </dev/null'), /from the container/);
    server.close();
  });

  test('finds the network’s router by IPv6, takes its one address by DHCPv6, and no other', async () => {
    await inside(
      'for f in accept_ra=1 autoconf=1; do echo ${f#*=} >/proc/sys/net/ipv6/conf/eth0/${f%=*}; done',
    );
    await inside('ip link set eth0 down; ip link set eth0 up');
    await eventually(async () => /default via fe80/.test(await inside('ip -6 route')));
    await inside(dhclient(6));
    await inside(udhcpc);
    const addresses = [...(await inside('ip -6 address show eth0')).matchAll(/inet6 (\S+) scope global/g)];
    const { address, gateway } = own().ipv6!;
    assert.deepEqual(
      addresses.map(([, one]) => one),
      [`${address}/128`],
    );
    assert.match(await inside('cat resolv6'), new RegExp(`${gateway}.*both`, 's'));
    // Its route is there as the kernel made it: out by the bridge, and to neighbours on the link.
    await inside(`busybox ping -c1 -W9 ${gateway}`);
    const server = await serveTcp(box, 82, 'by IPv6', '::');
    assert.match(await inside(`busybox nc ${box.endpoints[0]!.ipv6!.address} 82 </dev/null`), /by IPv6/);
    server.close();
    assert.match(
      await inside(`busybox nslookup box ${gateway}`),
      new RegExp(box.endpoints[0]!.ipv6!.address),
    );
  });

  test('serves its published ports, by IPv4 and IPv6', async () => {
    const server = guest.serve('busybox nc -ll -p 80 -e echo from the guest');
    const { hostPort } = vm.ports[0]!;
    for (const host of ['127.0.0.1', '::1', own().ipv4!.address, own().ipv6!.address])
      await eventually(
        async () => (await tcpFromHost(host, host.length > 9 ? 80 : hostPort)) === 'from the guest\n',
      );
    server.kill();
  });

  test('renews with the next daemon, which serves it as the one before', async () => {
    await inside(dhclient(4));
    await network.close();
    await inside(`busybox ping -c1 -W9 ${own().ipv4!.gateway}`);
    network = await fixture.restart(['vm', 'box']);
    const { address } = own().ipv4!;
    const again = await inside(`busybox udhcpc -f -q -n -t 5 -T 2 -i eth0 -s ./udhcpc -r ${address}`);
    assert.match(again, new RegExp(`lease of ${address} obtained`));
    assert.match(await inside('busybox nslookup -type=a box.'), /Address: \d+\.\d+\.\d+\.\d+\n/);
    const renewed = await inside(`${dhclient(4)}; cat leases4`);
    assert.match(renewed, new RegExp(`DHCPREQUEST for ${address}[^]*DHCPACK of ${address}`));
    const strange = address.replace(/\d+\.\d+$/, '77.77');
    // Who asks for another address than its own is told that it is wrong, and then takes the right one.
    await inside(`sed -i 's/fixed-address .*;/fixed-address ${strange};/' leases4`);
    const other = await inside(dhclient(4));
    assert.match(other, new RegExp(`DHCPREQUEST for ${strange}[^]*DHCPNAK[^]*bound to ${address}`));
  });

  test('has a card for each network it joins, also while it runs; and none for one it left', async () => {
    await network.create(
      networkSpec('inner', { internal: true, options: { 'com.docker.network.driver.mtu': '1280' } }),
    );
    await network.connect('vm', 'inner', {});
    const [, second, ...more] = await wireGuest(vm.netnsPath!, { owner, configuresItself: true });
    assert.deepEqual([second!.name, more.length], ['eth1', 0]);
    await network.serveGuest('vm');
    const other = await startTapGuest(vm.netnsPath!, second!);
    try {
      const { output } = await other.exec(`${udhcpc}; cat got; busybox nslookup -type=a machine.`);
      const endpoint = network.attachment('vm')!.endpoints[1]!;
      assert.ok(output.includes(`ip='${endpoint.ipv4!.address}'`), output);
      assert.ok(output.includes("mtu='1280'") && !output.includes('router='), output);
      assert.match(output, /Address: \d+\.\d+\.\d+\.\d+\n/);
    } finally {
      await other.close();
    }
    assert.match(
      await inside('busybox nslookup -type=a box.'),
      /Address: \d+\.\d+\.\d+\.\d+\n/,
      'the first card is served on',
    );
    await removeTap(vm.netnsPath!, 'eth1');
    await network.disconnect('vm', 'inner');
    await network.serveGuest('vm');
    assert.match(await inside('busybox nslookup -type=a box.'), /Address: \d+\.\d+\.\d+\.\d+\n/);
    await inside(`busybox ping -c1 -W9 ${own().ipv4!.gateway}`);
    assert.deepEqual(
      (await listLinks(vm.netnsPath)).map(({ name }) => name),
      ['lo', 'eth0', 'isle-tap0'],
    );
  });
});

test('a virtual machine’s system takes its address by DHCP, and finds others by name', async () => {
  const fixture = await openNetwork({ pool: 0 });
  const { network } = fixture;
  let guest: NetworkGuest | undefined;
  try {
    await network.create(networkSpec('lan'));
    const on = { networks: [{ network: 'lan', endpoint: {} }] };
    const vm = await network.attach('vm', attachRequest({ name: 'vm', hostname: 'machine', ...on }));
    const box = await network.attach('box', attachRequest({ name: 'box', hostname: 'box', ...on }));
    const links = await wireGuest(vm.netnsPath!, { owner, configuresItself: true });
    await network.serveGuest('vm');
    guest = await bootNetworkGuest({ netnsPath: vm.netnsPath!, owner, cards: cardsOf(links) });
    // The name of the event is in $1, what was given in the environment.
    const script = [
      'ip addr add $ip/$mask dev $interface',
      'ip route add default via $router',
      'echo nameserver $dns >/etc/resolv.conf',
      'echo search $domain >>/etc/resolv.conf',
      'hostname $hostname',
    ].join('; ');
    const write = `printf '#!/bin/sh\\n[ $1 = bound ] && { %s; }\\n' '${script}' >/tmp/script`;
    assert.equal((await guest.exec(`${write}; chmod +x /tmp/script`)).code, 0);
    const said = await guest.exec(
      'ip link set eth0 up; udhcpc -i eth0 -q -n -t 10 -T 2 -s /tmp/script; hostname',
    );
    assert.match(said.output, new RegExp(`lease of ${vm.endpoints[0]!.ipv4!.address} obtained`));
    assert.match(said.output, /^machine$/m);
    assert.match(
      (await guest.exec('nslookup -type=a box')).output,
      new RegExp(box.endpoints[0]!.ipv4!.address),
    );
    assert.equal((await guest.exec(`ping -c1 -W9 ${vm.endpoints[0]!.ipv4!.gateway}`)).code, 0);
    assert.equal((await inPod(box, 'ping', '-c1', '-W9', vm.endpoints[0]!.ipv4!.address)).code, 0);
  } finally {
    await guest?.close();
    assert.deepEqual(await fixture.dispose(), [], 'nothing is left on the host');
  }
});

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 20_000; !(await holds()); await delay(100))
    assert.ok(Date.now() < end, 'not in time');
}

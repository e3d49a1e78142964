import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  bootAddress,
  makeTap,
  moveTap,
  unwireGuest,
  wireGuest,
  type WiredLink,
} from '../../src/host/guest-link.ts';
import { listLinks } from '../../src/host/netlink.ts';
import { NetworkJob } from '../../src/host/network-job.ts';
import type { Attachment, Network } from '../../src/network/network.ts';
import { bootNetworkGuest, cardsOf, type NetworkGuest } from '../fixtures/network-guest.ts';
import {
  attachRequest,
  inPod,
  networkSpec,
  openNetwork,
  serveTcp,
  udpFrom,
  type NetworkFixture,
} from '../fixtures/network.ts';

/** Nobody's on this host. */
const owner = 1_531_072;

describe('a guest that has a pod’s network', () => {
  let fixture: NetworkFixture;
  let network: Network;
  let vm: Attachment;
  let box: Attachment;
  let links: WiredLink[];
  let guest: NetworkGuest | undefined;
  const on = (...names: string[]) => ({ networks: names.map((name) => ({ network: name, endpoint: {} })) });

  before(async () => {
    fixture = await openNetwork({ pool: 1 });
    network = fixture.network;
    await network.create(networkSpec('both', { enableIPv6: true }));
    await network.create(networkSpec('back', { options: { 'com.docker.network.driver.mtu': '1280' } }));
    const ports = (['tcp', 'udp'] as const).map((protocol) => ({
      port: 80,
      protocol,
      hostIp: '',
      hostPort: 0,
    }));
    const endpoint = { macAddress: '02:11:22:33:44:55' };
    vm = await network.attach(
      'vm',
      attachRequest({
        name: 'vm',
        hostname: 'vm',
        ports,
        networks: [
          { network: 'both', endpoint },
          { network: 'back', endpoint: {} },
        ],
      }),
    );
    box = await network.attach('box', attachRequest({ name: 'box', hostname: 'box', ...on('both', 'back') }));
    links = await wireGuest(vm.netnsPath!, { owner });
    guest = await bootNetworkGuest({ netnsPath: vm.netnsPath!, owner, cards: cardsOf(links) });
    await guest.configure(links);
    const page =
      'mkdir -p /www && head -c 2000000 /dev/urandom > /www/bulk && echo from the guest > /www/index.html';
    assert.equal((await guest.exec(`${page} && httpd -h /www -p 80`)).code, 0);
    await guest.exec('udp-echo 80 < /dev/null > /dev/null 2>&1 &');
  });
  after(async () => {
    await guest?.close();
    assert.deepEqual(await fixture.dispose(), [], 'nothing is left on the host');
  });
  const inside = async (line: string): Promise<string> => {
    const { code, output } = await guest!.exec(line);
    assert.equal(code, 0, `${line}: ${output}`);
    return output;
  };
  const address = (pod: Attachment, index = 0): string => pod.endpoints[index]!.ipv4!.address;
  const address6 = (pod: Attachment): string => pod.endpoints[0]!.ipv6!.address;

  test('has its interfaces as a container has them: names, addresses of both kinds, MTU, routes', async () => {
    const shown = await inside('ip address; ip route; ip -6 route');
    assert.match(shown, /eth0: .* mtu \d+[^]*02:11:22:33:44:55/);
    assert.match(shown, /eth1: .* mtu 1280/);
    for (const text of [address(vm), address6(vm), address(vm, 1)]) assert.ok(shown.includes(text), text);
    assert.ok(shown.includes(`default via ${vm.endpoints[0]!.ipv4!.gateway} dev eth0`), shown);
    assert.ok(shown.includes(`default via ${vm.endpoints[0]!.ipv6!.gateway} dev eth0`), shown);
    assert.ok(
      !/eth1[^]*inet6/.test(await inside('ip address show eth1')),
      'no IPv6 where the network has none',
    );
  });

  test('resolves containers by name and reaches them, on every network, by both kinds of address', async () => {
    const server = await serveTcp(box, 81, 'from the container', '::');
    const found = await inside('nslookup box 127.0.0.11');
    for (const text of [address(box), address6(box)]) assert.ok(found.includes(text), found);
    await inside('echo nameserver 127.0.0.11 > /etc/resolv.conf');
    assert.match(await inside('nc box 81 < /dev/null'), /from the container/);
    for (const to of [address(box), address(box, 1)])
      assert.match(await inside(`nc ${to} 81 < /dev/null`), /from the container/, to);
    assert.match(await inside(`nc ${address6(box)} 81 < /dev/null`), /from the container/);
    await inside(`ping -c1 -W9 ${vm.endpoints[0]!.ipv4!.gateway}`);
    server.close();
  });

  test('is resolved and reached by containers, with whole and checked data both ways', async () => {
    const found = await inPod(box, 'nslookup', 'vm', '127.0.0.11');
    assert.ok(found.output.includes(address(vm)) && found.output.includes(address6(vm)), found.output);
    const sum = (await inside('md5sum < /www/bulk')).trim();
    for (const to of [address(vm), address(vm, 1), `[${address6(vm)}]`]) {
      const got = await inPod(box, 'sh', '-c', `busybox wget -qO- http://${to}/bulk | md5sum`);
      assert.equal(got.output.trim(), sum, to);
    }
    for (const to of [address(vm), address6(vm)]) assert.equal(await udpFrom(box, to, 80), 'x', to);
    const size = Number(/mtu (\d+)/.exec((await inPod(box, 'ip', 'link', 'show', 'eth0')).output)![1]) - 28;
    for (const bytes of [size, 4000])
      assert.equal((await inPod(box, 'ping', '-c1', '-W9', '-s', String(bytes), address(vm))).code, 0);
  });

  test('serves its published ports, and its traffic is counted', async () => {
    const port = (protocol: string): number => vm.ports.find((one) => one.protocol === protocol)!.hostPort;
    for (const host of ['127.0.0.1', '[::1]']) {
      const response = await fetch(`http://${host}:${port('tcp')}/`);
      assert.equal(await response.text(), 'from the guest\n', host);
    }
    assert.equal(await udpFrom(undefined, '127.0.0.1', port('udp')), 'x');
    const { eth0, eth1 } = await network.stats('vm');
    assert.ok(eth0!.rxBytes > 1000 && eth0!.txBytes > 4_000_000 && eth1!.txBytes > 2_000_000);
    assert.deepEqual(Object.keys(await network.stats('vm')), ['eth0', 'eth1']);
  });

  test('keeps its network while the daemon is away and after it; wiring again changes nothing', async () => {
    const before = await listLinks(vm.netnsPath);
    await network.close();
    assert.equal((await inPod(box, 'wget', '-qO-', `http://${address(vm)}/`)).output, 'from the guest\n');
    network = await fixture.restart(['vm', 'box']);
    assert.deepEqual(
      network.attachment('vm')!.endpoints.map(({ networkName }) => networkName),
      ['both', 'back'],
    );
    assert.deepEqual(await wireGuest(vm.netnsPath!, { owner }), links);
    const names = (list: typeof before) => list.map(({ index, name, mac }) => [index, name, mac]);
    assert.deepEqual(names(await listLinks(vm.netnsPath)), names(before));
    assert.ok((await inside('nslookup -type=a box 127.0.0.11')).includes(address(box)));
    assert.equal((await inPod(box, 'wget', '-qO-', `http://${address(vm)}/`)).output, 'from the guest\n');
  });

  test('once given back, the network is the namespace’s own again', async () => {
    await guest!.close();
    guest = undefined;
    await unwireGuest(vm.netnsPath!);
    await unwireGuest(vm.netnsPath!);
    const server = await serveTcp(vm, 82, 'myself', '::');
    for (const to of [address(vm), address(vm, 1), address6(vm)])
      assert.match((await inPod(box, 'nc', to, '82')).output, /myself/, to);
    assert.equal((await inPod(vm, 'ping', '-c1', '-W9', vm.endpoints[0]!.ipv4!.gateway)).code, 0);
    assert.equal((await inPod(vm, 'ping', '-c1', '-W9', vm.endpoints[0]!.ipv6!.gateway)).code, 0);
    assert.ok((await listLinks(vm.netnsPath)).every(({ kind }) => kind !== 'tun'));
    server.close();
  });
});

describe('a guest that was booted before it had a network', () => {
  let fixture: NetworkFixture;
  let guest: NetworkGuest | undefined;
  const namespace = (): string => `${fixture.root}/pool`;
  before(async () => {
    fixture = await openNetwork({ pool: 0 });
    await new NetworkJob().create(namespace()).run();
  });
  after(async () => {
    await guest?.close();
    await new NetworkJob().remove(namespace()).run();
    assert.deepEqual(await fixture.dispose(), [], 'nothing is left on the host');
  });

  test('gets the pod’s while it runs: the tap moves, the card takes the pod’s address', async () => {
    const tap = await makeTap(namespace(), { owner });
    guest = await bootNetworkGuest({
      netnsPath: namespace(),
      owner,
      cards: [{ tap, macAddress: bootAddress }],
    });
    const pod = await fixture.network.attach('late', attachRequest({ name: 'late' }));
    await moveTap(namespace(), pod.netnsPath!);
    await moveTap(namespace(), pod.netnsPath!);
    const links = await wireGuest(pod.netnsPath!, { owner });
    assert.equal(links[0]!.bootAddress, bootAddress);
    assert.deepEqual(await wireGuest(pod.netnsPath!, { owner }), links);
    await guest.configure(links);
    const { gateway, address } = pod.endpoints[0]!.ipv4!;
    const pinged = await guest.exec(`ping -c1 -W9 ${gateway}`);
    assert.equal(pinged.code, 0, pinged.output);
    await guest.exec('echo late > /index.html; httpd -h / -p 80');
    assert.match(await (await fetch(`http://${address}/`)).text(), /late/);
  });
});

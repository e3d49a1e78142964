import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { readdir } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { decode, encode } from 'dns-packet';
import { NetworkJob } from '../../src/host/network-job.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import type { Attachment, Network } from '../../src/network/network.ts';
import {
  attachRequest,
  inPod,
  networkSpec,
  openNetwork,
  serveTcp,
  tcpFromPod,
  type NetworkFixture,
} from '../fixtures/network.ts';

describe('pods on networks', () => {
  let fixture: NetworkFixture;
  let network: Network;
  before(async () => {
    fixture = await openNetwork({ pool: 2 });
    network = fixture.network;
  });
  after(async () => assert.deepEqual(await fixture.dispose(), [], 'nothing is left on the host'));

  const attach = (id: string, changes: Parameters<typeof attachRequest>[0] = {}): Promise<Attachment> =>
    network.attach(id, attachRequest({ name: id, hostname: id, ...changes }));
  const on = (...names: string[]) => ({ networks: names.map((name) => ({ network: name, endpoint: {} })) });
  const pings = async (pod: Attachment, address: string): Promise<boolean> =>
    (await inPod(pod, 'ping', '-c1', '-W9', address)).code === 0;
  /** Waits less: nothing is to come. */
  const isShut = async (pod: Attachment, address: string): Promise<boolean> =>
    (await inPod(pod, 'ping', '-c1', '-W1', address)).code !== 0;
  const resolves = async (pod: Attachment, name: string): Promise<string> =>
    (await inPod(pod, 'nslookup', name, '127.0.0.11')).output;

  test('pods of the default network reach each other, the host and beyond, without IPv6', async () => {
    const [a, b] = await Promise.all([attach('d1'), attach('d2')]);
    const { address, gateway } = b.endpoints[0]!.ipv4!;
    assert.ok(await pings(a, address));
    assert.ok(await pings(a, gateway));
    assert.equal(b.endpoints[0]!.macAddress, `02:42:${hex(address)}`);
    assert.match((await inPod(a, 'ip', 'addr')).output, /eth0/);
    assert.doesNotMatch((await inPod(a, 'ip', 'addr')).output, /inet6/);
    assert.match(a.hosts, new RegExp(`${a.endpoints[0]!.ipv4!.address}\td1`));
    assert.ok(!a.resolvConf.includes('127.0.0.'));
    await Promise.all([network.detach('d1'), network.detach('d2')]);
  });

  test('names, aliases and short ids resolve on user-defined networks, both ways, and only there', async () => {
    await network.create(networkSpec('web', { enableIPv6: true }));
    const endpoint = { aliases: ['svc'] };
    const a = await attach('0123456789abcdef', {
      name: 'front',
      hostname: 'h1',
      networks: [{ network: 'web', endpoint }],
    });
    const b = await attach('w2', { name: 'back', networks: [{ network: 'web', endpoint }] });
    const outsider = await attach('w3', { name: 'other' });
    const { ipv4, ipv6 } = b.endpoints[0]!;
    assert.match(a.resolvConf, /^nameserver 127\.0\.0\.11\n[^]*ndots:0/);
    assert.ok((await resolves(a, 'back')).includes(ipv4!.address));
    assert.ok((await resolves(a, 'BACK.web')).includes(ipv6!.address));
    assert.ok((await resolves(b, '0123456789ab')).includes(a.endpoints[0]!.ipv4!.address));
    const both = await resolves(a, 'svc');
    assert.ok(both.includes(ipv4!.address) && both.includes(a.endpoints[0]!.ipv4!.address));
    assert.match(await resolves(a, ipv4!.address), /name = back\.web/);
    assert.match(await resolves(a, ipv6!.address), /name = back\.web/);
    assert.equal((await inPod(a, 'nslookup', '-type=mx', 'back', '127.0.0.11')).code, 0);
    assert.ok(await pings(a, ipv4!.address));
    assert.ok(await pings(a, ipv6!.address));
    assert.ok(await isShut(outsider, ipv4!.address), 'networks are apart');
    assert.notEqual((await inPod(outsider, 'nslookup', 'back', '127.0.0.11')).code, 0);

    network.rename('w2', 'rear');
    assert.ok((await resolves(a, 'rear')).includes(ipv4!.address));
    assert.ok(!(await resolves(a, 'back')).includes(ipv4!.address));
    await Promise.all(['0123456789abcdef', 'w2', 'w3'].map((id) => network.detach(id)));
    await network.remove('web');
  });

  test('outside names are asked of the pod’s own server when it says so', async () => {
    await network.create(networkSpec('own'));
    const pod = await attach('o1', { ...on('own'), dns: ['127.0.0.11', '127.0.0.1'] });
    const { sockets } = await new NetworkJob()
      .enter(pod.netnsPath!)
      .socket({ family: 'ipv4', type: 'udp', address: Buffer.from([127, 0, 0, 1]), port: 53 })
      .run();
    const server = createSocket('udp4').bind({ fd: sockets[0]!.fd });
    server.on('message', (packet, { port, address }) => {
      const { id, questions } = decode(packet);
      const answers = questions!.flatMap(({ name, type }) =>
        type === 'A' ? [{ type, name, data: '198.51.100.7' }] : [],
      );
      server.send(encode({ type: 'response', id, questions, answers }), port, address);
    });
    assert.match(await resolves(pod, 'outside.example'), /198\.51\.100\.7/);
    server.close();
    await network.detach('o1');
    await network.remove('own');
  });

  test('a server of the pod has port 53 for itself', async () => {
    await network.create(networkSpec('dns53'));
    const pod = await attach('n1', on('dns53'));
    const server = await serveTcp(pod, 53, 'mine');
    assert.equal(await tcpFromPod(pod, pod.endpoints[0]!.ipv4!.address, 53), 'mine');
    assert.ok((await resolves(pod, 'n1')).includes(pod.endpoints[0]!.ipv4!.address));
    server.close();
    await network.detach('n1');
    await network.remove('dns53');
  });

  test('an internal network has no way out and resolves no outside name', async () => {
    await network.create(networkSpec('inner', { internal: true }));
    const [a, b] = [await attach('i1', on('inner')), await attach('i2', on('inner'))];
    assert.ok(await pings(a, b.endpoints[0]!.ipv4!.address));
    assert.equal(a.endpoints[0]!.ipv4!.gateway, '');
    assert.doesNotMatch((await inPod(a, 'ip', 'route')).output, /default/);
    assert.match(await resolves(a, 'example.com'), /NXDOMAIN/);
    // A way out that the pod makes itself is shut as well.
    const bridge = network.get('inner').ipam.config[0]!.gateway!;
    await inPod(a, 'ip', 'route', 'add', 'default', 'via', bridge);
    const other = await attach('i3');
    assert.ok(await isShut(a, other.endpoints[0]!.ipv4!.address));
    await Promise.all(['i1', 'i2', 'i3'].map((id) => network.detach(id)));
    await network.remove('inner');
  });

  test('with enable_icc=false pods reach the gateway but not each other', async () => {
    const options = {
      'com.docker.network.bridge.enable_icc': 'false',
      'com.docker.network.driver.mtu': '1280',
    };
    await network.create(networkSpec('apart', { options }));
    const [a, b] = [await attach('c1', on('apart')), await attach('c2', on('apart'))];
    assert.ok(await isShut(a, b.endpoints[0]!.ipv4!.address));
    assert.ok(await pings(a, a.endpoints[0]!.ipv4!.gateway));
    assert.match((await inPod(a, 'ip', 'link', 'show', 'eth0')).output, /mtu 1280/);
    await Promise.all(['c1', 'c2'].map((id) => network.detach(id)));
    await network.remove('apart');
  });

  test('a pod joins and leaves networks while it runs', async () => {
    await network.create(networkSpec('one'));
    await network.create(networkSpec('two'));
    const a = await attach('j1', on('one'));
    const b = await attach('j2', on('two'));
    const endpoint = await network.connect('j1', 'two', { aliases: ['guest'], gwPriority: 1 });
    assert.equal(endpoint.interfaceName, 'eth1');
    assert.ok(await pings(b, endpoint.ipv4!.address));
    assert.ok((await resolves(b, 'guest')).includes(endpoint.ipv4!.address));
    assert.match(
      (await inPod(a, 'ip', 'route')).output,
      new RegExp(`default via ${endpoint.ipv4!.gateway} dev eth1`),
    );
    assert.deepEqual(Object.keys(await network.stats('j1')).toSorted(), ['eth0', 'eth1']);
    assert.ok((await network.stats('j1')).eth1!.rxPackets > 0);
    await assert.rejects(network.connect('j1', 'two', {}), (error) => isIsleError(error, 'conflict'));
    await network.disconnect('j1', 'two');
    assert.ok(await isShut(b, endpoint.ipv4!.address));
    assert.match((await inPod(a, 'ip', 'route')).output, /default via \S+ dev eth0/);
    await assert.rejects(network.remove('one'), /active endpoints: j1/);
    await Promise.all(['j1', 'j2'].map((id) => network.detach(id)));
    await Promise.all(['one', 'two'].map((id) => network.remove(id)));
  });

  test('a pod on the default network gets names when it joins a user-defined one', async () => {
    await network.create(networkSpec('late'));
    const pod = await attach('l1');
    const friend = await attach('l2', on('late'));
    await network.connect('l1', 'late', {});
    assert.match(network.attachment('l1')!.resolvConf, /127\.0\.0\.11/);
    assert.ok((await resolves(pod, 'l2')).includes(friend.endpoints[0]!.ipv4!.address));
    await Promise.all(['l1', 'l2'].map((id) => network.detach(id)));
    await network.remove('late');
  });

  test('addresses, MAC addresses and interface names can be chosen, and are free again at once', async () => {
    const config = [{ subnet: '10.213.7.0/24', ipRange: '10.213.7.128/25', gateway: '10.213.7.254' }];
    await network.create(networkSpec('fixed', { ipam: { driver: '', config, options: {} } }));
    const endpoint = {
      ipv4Address: '10.213.7.9',
      macAddress: '02:00:00:AA:BB:CC',
      driverOptions: { 'com.docker.network.endpoint.ifname': 'lan0' },
    };
    for (const id of ['f1', 'f2']) {
      const pod = await attach(id, { networks: [{ network: 'fixed', endpoint }] });
      assert.equal(pod.endpoints[0]!.ipv4!.address, '10.213.7.9');
      const { output } = await inPod(pod, 'ip', 'addr', 'show', 'lan0');
      assert.match(output, /02:00:00:aa:bb:cc[^]*10\.213\.7\.9\/24/);
      const free = await attach(`${id}x`, on('fixed'));
      assert.match(free.endpoints[0]!.ipv4!.address, /^10\.213\.7\.1(2[89]|[3-9]\d)$/);
      await assert.rejects(
        attach('f3', { networks: [{ network: 'fixed', endpoint }] }),
        /Address already in use/,
      );
      await Promise.all([network.detach(id), network.detach(`${id}x`)]);
    }
    await assert.rejects(
      attach('f4', { networks: [{ network: 'fixed', endpoint: { ipv4Address: '10.1.1.1' } }] }),
      /10\.1\.1\.1 is in no subnet of network fixed/,
    );
    await network.remove('fixed');
  });

  test('`none` has loopback only, `host` is the host, and neither is combined', async () => {
    const none = await attach('z1', on('none'));
    assert.doesNotMatch((await inPod(none, 'ip', 'addr')).output, /eth0/);
    assert.match((await inPod(none, 'ip', 'addr')).output, /lo:.*UP/);
    const host = await attach('z2', on('host'));
    assert.equal(host.netnsPath, undefined);
    await assert.rejects(attach('z3', on('bridge', 'none')), (error) =>
      isIsleError(error, 'invalidParameter'),
    );
    await Promise.all(['z1', 'z2'].map((id) => network.detach(id)));
  });

  test('networks that cannot be are refused with the reason', async () => {
    const subnet = network.get('bridge').ipam.config[0]!.subnet;
    const create = (changes: Parameters<typeof networkSpec>[1], name = 'bad'): Promise<unknown> =>
      network.create(networkSpec(name, changes));
    const ipam = (config: object[]) => ({ ipam: { driver: '', config: config as never, options: {} } });
    await assert.rejects(create(ipam([{ subnet }])), /overlaps .* of network bridge/);
    await assert.rejects(create(ipam([{ subnet: '10.9.0.0/33' }])), /invalid subnet/);
    await assert.rejects(create(ipam([{ subnet: '10.9.0.0/24', gateway: '10.8.0.1' }])), /is not in subnet/);
    await assert.rejects(create(ipam([{ subnet: '127.0.0.0/24' }])), /loopback/);
    await assert.rejects(create({ driver: 'macvlan' }), /macvlan/);
    await assert.rejects(create({ options: { nonsense: '1' } }), /nonsense/);
    await assert.rejects(
      create({ options: { 'com.docker.network.bridge.name': 'lo' } }),
      /has a link named lo/,
    );
    await assert.rejects(create({}, 'bridge'), /predefined/);
    await assert.rejects(create({}, '../x'), (error) => isIsleError(error, 'invalidName'));
    await assert.rejects(network.remove('host'), /pre-defined/);
    assert.throws(() => network.get('bad'), /network bad not found/);
    assert.deepEqual(
      network
        .list()
        .map(({ name }) => name)
        .toSorted(),
      ['bridge', 'host', 'none'],
    );
  });

  test('of two networks of one name made at once one wins, and comes and goes leave no descriptor open', async () => {
    const made = await Promise.allSettled([1, 2].map(() => network.create(networkSpec('twin'))));
    assert.deepEqual(made.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
    const count = async (): Promise<number> => (await readdir('/proc/self/fd')).length;
    const cycle = async (): Promise<void> => {
      const ports = [{ port: 80, protocol: 'tcp' as const, hostIp: '', hostPort: 0 }];
      await Promise.all([1, 2, 3, 4].map((id) => attach(`t${id}`, { ...on('twin'), ports })));
      await Promise.all([1, 2, 3, 4].map((id) => network.detach(`t${id}`)));
    };
    await cycle();
    await delay(300);
    const before = await count();
    for (let round = 0; round < 10; round++) await cycle();
    await delay(300);
    assert.ok((await count()) <= before + 4, `${await count()} descriptors after ${before}`);
    await network.remove('twin');
  });

  test('a failed attach leaves nothing', async () => {
    const before = network.get('bridge').endpoints;
    await assert.rejects(
      attach('e1', { ports: [{ port: 1, protocol: 'tcp', hostIp: '203.0.113.7', hostPort: 1 }] }),
    );
    await assert.rejects(attach('e1', { extraHosts: ['a b:1'] }), /add-host/);
    await assert.rejects(attach('e1', { dns: ['x'] }), /invalid DNS server/);
    await assert.rejects(attach('e1', { hostname: 'a\nb' }), /invalid hostname/);
    assert.deepEqual(network.get('bridge').endpoints, before);
    assert.equal(network.attachment('e1'), undefined);
    await network.detach('e1');
  });
});

function hex(address: string): string {
  return address
    .split('.')
    .map((part) => Number(part).toString(16).padStart(2, '0'))
    .join(':');
}

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { run, runOk } from '../../src/host/run.ts';
import type { PortBinding } from '../../src/engine/model.ts';
import type { Attachment, Network } from '../../src/network/network.ts';
import {
  attachRequest,
  networkSpec,
  openNetwork,
  serveTcp,
  serveUdp,
  tcpFromHost,
  tcpFromPod,
  udpFrom,
  type NetworkFixture,
} from '../fixtures/network.ts';

describe('published ports', () => {
  let fixture: NetworkFixture;
  let network: Network;
  before(async () => {
    fixture = await openNetwork({ pool: 2 });
    network = fixture.network;
  });
  after(async () => assert.deepEqual(await fixture.dispose(), [], 'nothing is left on the host'));

  const publish = (id: string, ports: Partial<PortBinding>[], on = 'bridge'): Promise<Attachment> =>
    network.attach(
      id,
      attachRequest({
        name: id,
        networks: [{ network: on, endpoint: {} }],
        ports: ports.map((port) => ({ port: 80, protocol: 'tcp', hostIp: '', hostPort: 0, ...port })),
      }),
    );
  const hostPort = (pod: Attachment): number => pod.ports[0]!.hostPort;

  test('TCP is reached from the host, by loopback, from other pods, by itself, by IPv4 and IPv6', async () => {
    const pod = await publish('web', [{}]);
    const server = await serveTcp(pod, 80, 'hello');
    const port = hostPort(pod);
    assert.deepEqual(
      pod.ports.map(({ hostIp }) => hostIp),
      ['0.0.0.0', '::'],
    );
    for (const address of ['127.0.0.1', '127.9.9.9', '::1', ...hostAddresses()])
      assert.equal(await tcpFromHost(address, port), 'hello', address);
    await network.create(networkSpec('elsewhere'));
    const neighbour = await publish('near', []);
    const stranger = await publish('far', [], 'elsewhere');
    const [outside = ''] = hostAddresses().filter((address) => !address.includes(':'));
    const gateway = pod.endpoints[0]!.ipv4!.gateway;
    for (const from of [pod, neighbour, stranger])
      for (const address of [outside, gateway]) assert.equal(await tcpFromPod(from, address, port), 'hello');
    server.close();
    await Promise.all(['web', 'near', 'far'].map((id) => network.detach(id)));
    await network.remove('elsewhere');
    assert.equal(await tcpFromHost('127.0.0.1', port), '');
  });

  test('UDP is reached the same ways, and keeps the sender’s address', async () => {
    const pod = await publish('time', [{ protocol: 'udp', port: 37 }]);
    const server = await serveUdp(pod, 37, 'tick');
    const port = hostPort(pod);
    for (const address of ['127.0.0.1', '::1', ...hostAddresses()])
      assert.match(await udpFrom(undefined, address, port), /^tick /, address);
    const neighbour = await publish('near', []);
    const [outside = ''] = hostAddresses().filter((address) => !address.includes(':'));
    assert.match(await udpFrom(neighbour, outside, port), /^tick /);
    assert.match(await udpFrom(pod, outside, port), /^tick /);
    assert.equal(await udpFrom(undefined, outside, port), `tick ${outside}`);
    server.close();
    await Promise.all(['time', 'near'].map((id) => network.detach(id)));
  });

  test('a UDP client that keeps its port is led to whoever has the published port now', async () => {
    const outside = hostAddresses().find((address) => !address.includes(':'))!;
    let port = 0;
    for (const name of ['first', 'second']) {
      const pod = await publish('udp', [{ protocol: 'udp', port: 99, hostPort: port }]);
      port = hostPort(pod);
      const server = await serveUdp(pod, 99, name);
      await settle();
      assert.match(await udpFrom(undefined, outside, port, { localPort: 45_999 }), new RegExp(`^${name} `));
      server.close();
      await network.detach('udp');
    }
  });

  test('a pod with IPv6 is reached by IPv6 without a proxy, and by ::1', async () => {
    await network.create(networkSpec('six', { enableIPv6: true }));
    const pod = await publish('six', [{}], 'six');
    const server = await serveTcp(pod, 80, 'v6', '::');
    for (const address of ['::1', '127.0.0.1', ...hostAddresses()])
      assert.equal(await tcpFromHost(address, hostPort(pod)), 'v6', address);
    server.close();
    await network.detach('six');
    await network.remove('six');
  });

  test('a port published on 127.0.0.1 is the host’s alone', async () => {
    const pod = await publish('local', [{ hostIp: '127.0.0.1' }]);
    const server = await serveTcp(pod, 80, 'secret');
    const other = await publish('other', []);
    assert.equal(await tcpFromHost('127.0.0.1', hostPort(pod)), 'secret');
    for (const address of [...hostAddresses(), other.endpoints[0]!.ipv4!.gateway])
      assert.equal(await tcpFromHost(address, hostPort(pod)), '', address);
    assert.equal(await tcpFromPod(other, other.endpoints[0]!.ipv4!.gateway, hostPort(pod)), '');
    // A pod that sends 127.0.0.1 out of its interface (a martian) gets nothing from the host either.
    const martian = [
      'sh',
      '-c',
      'ip route add 127.0.0.1 via $0 dev eth0; ip addr del 127.0.0.1/8 dev lo',
      other.endpoints[0]!.ipv4!.gateway,
    ];
    await run('nsenter', [`--net=${other.netnsPath}`, ...martian]);
    await run('nsenter', [
      `--net=${other.netnsPath}`,
      'sh',
      '-c',
      'echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet',
    ]);
    assert.equal(await tcpFromPod(other, '127.0.0.1', hostPort(pod)), '');
    server.close();
    await Promise.all(['local', 'other'].map((id) => network.detach(id)));
  });

  test('a port in use is refused, and its owner named', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    await assert.rejects(
      publish('late', [{ hostPort: port }]),
      new RegExp(
        `0\\.0\\.0\\.0:${port} failed: port is already allocated \\(process \\S+ \\(pid ${process.pid}\\) has it\\)`,
      ),
    );
    server.close();
    const pod = await publish('owner', [{}]);
    await assert.rejects(
      publish('late', [{ hostPort: hostPort(pod), hostIp: '127.0.0.1' }]),
      /container owner has it/,
    );
    await assert.rejects(publish('twice', [{ hostPort: 48_123 }, { hostPort: 48_123, port: 81 }]), /48123/);
    await assert.rejects(
      publish('nowhere', [{ hostIp: '203.0.113.9', hostPort: 48_124 }]),
      /not an address of this host/,
    );
    await network.detach('owner');
    const again = await publish('late', [{ hostPort: hostPort(pod) }]);
    assert.equal(hostPort(again), hostPort(pod));
    await network.detach('late');
  });

  test('nobody on the host gets a published port', async () => {
    const pod = await publish('holder', [{}]);
    for (const host of ['0.0.0.0', '127.0.0.1', '::1']) {
      const server = createServer();
      const code = await new Promise((resolve) => {
        server.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
        server.listen(hostPort(pod), host, () => resolve('listening'));
      });
      assert.equal(code, 'EADDRINUSE', host);
    }
    await network.detach('holder');
  });

  test('ranges take the first free port, random ones are spread, exposed ones are published on demand', async () => {
    const range = { hostPort: 48_200, hostPortEnd: 48_202 };
    const a = await publish('r1', [range]);
    const b = await publish('r2', [range]);
    assert.deepEqual([hostPort(a), hostPort(b)], [48_200, 48_201]);
    const c = await network.attach(
      'r3',
      attachRequest({
        publishAllPorts: true,
        exposedPorts: [
          { port: 7, protocol: 'tcp' },
          { port: 8, protocol: 'udp' },
        ],
      }),
    );
    assert.deepEqual(
      c.ports.map(({ port }) => port),
      [7, 7, 8, 8],
    );
    assert.equal(c.ports[0]!.hostPort, c.ports[1]!.hostPort);
    await publish('r4', [range]);
    await assert.rejects(publish('r5', [range]), /48202/);
    await Promise.all(['r1', 'r2', 'r3', 'r4'].map((id) => network.detach(id)));
  });

  test('ports follow a pod that changes its networks, and stay the same', async () => {
    await network.create(networkSpec('moved'));
    const pod = await publish('mover', [{}, { port: 81, hostPort: 48_300 }]);
    const server = await serveTcp(pod, 80, 'moving');
    const port = hostPort(pod);
    await network.connect('mover', 'moved', {});
    await network.disconnect('mover', 'bridge');
    assert.deepEqual(network.attachment('mover')!.ports, pod.ports);
    for (const address of ['127.0.0.1', '::1']) assert.equal(await tcpFromHost(address, port), 'moving');
    await network.disconnect('mover', 'moved');
    assert.deepEqual(network.attachment('mover')!.ports, []);
    await network.connect('mover', 'bridge', {});
    assert.equal(network.attachment('mover')!.ports.length, 4);
    assert.equal(await tcpFromHost('127.0.0.1', hostPort(network.attachment('mover')!)), 'moving');
    server.close();
    await network.detach('mover');
    await network.remove('moved');
  });

  test('what is published stays shut where the host’s own firewall drops it', async () => {
    const pod = await publish('fw', [{}]);
    const server = await serveTcp(pod, 80, 'open');
    const near = await publish('near', []);
    const outside = hostAddresses().find((address) => !address.includes(':'))!;
    const table = `${fixture.instance}_host`;
    const { address } = pod.endpoints[0]!.ipv4!;
    const rule = `type filter hook forward priority 10; policy accept\nip daddr ${address} drop`;
    await runOk('nft', ['-f', '-'], { input: `table ip ${table} {\nchain f {\n${rule}\n}\n}\n` });
    assert.equal(await tcpFromPod(near, outside, hostPort(pod)), '');
    await runOk('nft', ['delete', 'table', 'ip', table]);
    assert.equal(await tcpFromPod(near, outside, hostPort(pod)), 'open');
    server.close();
    await Promise.all(['fw', 'near'].map((id) => network.detach(id)));
  });

  test('a reload of the host’s firewall that flushes everything takes no port away', async () => {
    const pod = await publish('flush', [{}]);
    const server = await serveTcp(pod, 80, 'still here');
    await runOk('nft', ['delete', 'table', 'inet', fixture.instance]);
    await settle();
    assert.equal(await tcpFromHost('127.0.0.1', hostPort(pod)), 'still here');
    server.close();
    await network.detach('flush');
  });
});

function hostAddresses(): string[] {
  return Object.entries(networkInterfaces())
    .filter(([name]) => /^(eth|en|wl)/.test(name))
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80'))
    .map(({ address }) => address);
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 300));
}

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { addAddress, addVeth, deleteLinks, setLink } from '../../src/host/netlink.ts';
import { NetworkJob } from '../../src/host/network-job.ts';
import { run, runOk } from '../../src/host/run.ts';
import type { Attachment } from '../../src/network/network.ts';
import {
  attachRequest,
  openNetwork,
  serveTcp,
  tcpFromHost,
  tcpFromPod,
  type NetworkFixture,
} from '../fixtures/network.ts';

/** A neighbour on a network of the host, who may send whatever it likes. */
describe('a hostile neighbour on the host’s own network', () => {
  const link = `lan${randomInt(1e6)}`;
  const [a, b] = [randomInt(256), randomInt(64) * 4];
  const hostAddress = `198.18.${a}.${b + 1}`;
  let fixture: NetworkFixture;
  let neighbour: Attachment;
  let pod: Attachment;
  let port: number;
  let localPort: number;

  before(async () => {
    fixture = await openNetwork({ pool: 1 });
    const netnsPath = join(fixture.root, 'neighbour');
    neighbour = { podId: 'lan', netnsPath, endpoints: [], ports: [], hosts: '', resolvConf: '' };
    await new NetworkJob()
      .create(netnsPath)
      .route([setLink('lo', { up: true })])
      .host()
      .route([addVeth(link, {}, { name: 'eth0', inner: true })])
      .route([setLink(link, { up: true }), addAddress(link, Buffer.from([198, 18, a, b + 1]), 30)])
      .inner()
      .route([setLink('eth0', { up: true }), addAddress('eth0', Buffer.from([198, 18, a, b + 2]), 30)])
      .run();
    const ports = ['', '127.0.0.1'].map((hostIp) => ({
      port: 80,
      protocol: 'tcp' as const,
      hostIp,
      hostPort: 0,
    }));
    pod = await fixture.network.attach('web', attachRequest({ ports }));
    port = pod.ports.find(({ hostIp }) => hostIp === '0.0.0.0')!.hostPort;
    localPort = pod.ports.find(({ hostIp }) => hostIp === '127.0.0.1')!.hostPort;
    await serveTcp(pod, 80, 'inside');
  });
  after(async () => {
    await new NetworkJob().remove(neighbour.netnsPath!).run();
    await deleteLinks([link]);
    assert.deepEqual(await fixture.dispose(), []);
  });
  const inside = (script: string): Promise<unknown> =>
    runOk('nsenter', [`--net=${neighbour.netnsPath}`, 'sh', '-c', script]);

  test('reaches what is published', async () => {
    assert.equal(await tcpFromPod(neighbour, hostAddress, port), 'inside');
  });

  test('does not reach a container by its own address', async () => {
    const { address } = pod.endpoints[0]!.ipv4!;
    await inside(`ip route add ${address} via ${hostAddress}`);
    assert.equal(await tcpFromPod(neighbour, address, 80), '');
    assert.equal(await tcpFromHost(address, 80), 'inside', 'the host itself may');
  });

  test('does not reach what is published on 127.0.0.1, by no address of the host', async () => {
    assert.equal(await tcpFromHost('127.0.0.1', localPort), 'inside');
    for (const address of [hostAddress, pod.endpoints[0]!.ipv4!.gateway]) {
      if (address !== hostAddress) await inside(`ip route add ${address} via ${hostAddress}`);
      assert.equal(await tcpFromPod(neighbour, address, localPort), '', address);
    }
  });

  test('does not get a packet to 127.0.0.1 through, even where the host would route it', async () => {
    await inside(
      `ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via ${hostAddress}; echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet`,
    );
    await runOk('sh', ['-c', `echo 1 > /proc/sys/net/ipv4/conf/${link}/route_localnet`]);
    assert.equal(await tcpFromPod(neighbour, '127.0.0.1', localPort), '');
    assert.equal(await tcpFromPod(neighbour, '127.0.0.1', port), '');
  });

  test('finds no resolver', async () => {
    const { code } = await run('nsenter', [
      `--net=${neighbour.netnsPath}`,
      'busybox',
      'nslookup',
      'web',
      '127.0.0.11',
    ]);
    assert.notEqual(code, 0);
  });
});

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { listLinks } from '../../src/host/netlink.ts';
import { NetworkJob } from '../../src/host/network-job.ts';
import type { Attachment, Network } from '../../src/network/network.ts';
import { openStore } from '../../src/state/store.ts';
import { crashAt, type Crash } from '../fixtures/network-crash.ts';
import {
  attachRequest,
  inPod,
  networkSpec,
  serveTcp,
  serveUdp,
  tcpFromHost,
  udpFrom,
} from '../fixtures/network.ts';

describe('the network of a daemon that was killed', () => {
  let crash: Crash;
  let network: Network;
  let pod: Attachment;
  let tcp: number;
  let udp: number;

  before(async () => {
    crash = await crashAt('network.connect.before');
    const store = openStore(`${crash.root}/isle.db`);
    const record = store.table<{ namespace: string; ports: Attachment['ports'] }>('network.pods').get('p1')!;
    store.close();
    pod = {
      podId: 'p1',
      netnsPath: `${crash.root}/netns/${record.namespace}`,
      endpoints: [],
      ports: record.ports,
      hosts: '',
      resolvConf: '',
    };
    [udp = 0, tcp = 0] = ['udp', 'tcp'].map(
      (name) => record.ports.find(({ protocol }) => protocol === name)!.hostPort,
    );
  });
  after(async () => assert.deepEqual(await crash.dispose(), [], 'nothing is left on the host'));

  test('published ports work while the daemon is dead', async () => {
    const servers = [await serveTcp(pod, 80, 'alive'), await serveUdp(pod, 80, 'alive')];
    assert.equal(await tcpFromHost('127.0.0.1', tcp), 'alive');
    assert.match(await udpFrom(undefined, '127.0.0.1', udp), /^alive/);
    for (const server of servers) server.close();
  });

  test('the next daemon finds the same pods, addresses and ports, and takes the ports back', async () => {
    network = await crash.reopen();
    const found = network.attachment('p1')!;
    assert.equal(found.netnsPath, pod.netnsPath);
    assert.deepEqual(found.ports, pod.ports);
    const server = await serveTcp(found, 80, 'again');
    for (const address of ['127.0.0.1', '::1'])
      assert.equal(await tcpFromHost(address, tcp), 'again', address);
    server.close();
    const thief = createServer();
    const code = await new Promise((resolve) => {
      thief.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      thief.listen(tcp, '0.0.0.0', () => resolve('listening'));
    });
    assert.equal(code, 'EADDRINUSE');
  });

  test('names resolve again in pods that went on running', async () => {
    const other = network.attachment('p2')!;
    const { output } = await inPod(other, 'nslookup', 'p2', '127.0.0.11');
    assert.ok(output.includes(other.endpoints[0]!.ipv4!.address), output);
  });

  test('addresses in use are not given again', async () => {
    const used = Object.values(network.get('bridge').endpoints).map(({ ipv4 }) => ipv4!.address);
    const fresh = await network.attach('new', attachRequest({ name: 'new' }));
    assert.ok(!used.includes(fresh.endpoints[0]!.ipv4!.address));
    await network.detach('new');
  });

  test('after a reboot nothing of the old pods is left, whoever is said to run', async () => {
    const pods = ['p1', 'p2'].map((id) => network.attachment(id)!);
    await network.close();
    for (const { netnsPath } of pods) await new NetworkJob().remove(netnsPath!).run();
    await writeFile(pods[1]!.netnsPath!, '');
    network = await crash.reopen();
    for (const id of ['p1', 'p2']) assert.equal(network.attachment(id), undefined, id);
    assert.deepEqual(network.get('bridge').endpoints, {});
    assert.equal(await tcpFromHost('127.0.0.1', tcp), '');
  });

  test('a bridge of this instance that no record knows is removed', async () => {
    const { bridge } = await network.create(networkSpec('lost'));
    const store = openStore(`${crash.root}/isle.db`);
    const table = store.table<{ name: string; id: string }>('network.networks');
    table.delete(table.all().find(({ name }) => name === 'lost')!.id);
    store.close();
    const fresh = await crash.restart();
    assert.throws(() => fresh.get('lost'));
    assert.ok(!(await listLinks()).some(({ name }) => name === bridge));
    network = fresh;
  });
});

import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { decode, encode } from 'dns-packet';
import fc from 'fast-check';
import { NetworkJob } from '../../src/host/network-job.ts';
import { run } from '../../src/host/run.ts';
import type { Attachment } from '../../src/network/network.ts';
import { attachRequest, inPod, networkSpec, openNetwork, type NetworkFixture } from '../fixtures/network.ts';

describe('a hostile container and the resolver', () => {
  let fixture: NetworkFixture;
  let pod: Attachment;
  let other: Attachment;
  before(async () => {
    fixture = await openNetwork({ pool: 0 });
    await fixture.network.create(networkSpec('lab'));
    const on = { networks: [{ network: 'lab', endpoint: {} }] };
    pod = await fixture.network.attach('evil', attachRequest({ ...on, name: 'evil' }));
    other = await fixture.network.attach('good', attachRequest({ ...on, name: 'good' }));
  });
  after(async () => assert.deepEqual(await fixture.dispose(), []));

  const client = async (): Promise<Socket> => {
    const { sockets } = await new NetworkJob()
      .enter(pod.netnsPath!)
      .socket({ family: 'ipv4', type: 'udp', address: Buffer.alloc(4), port: 0 })
      .run();
    return createSocket('udp4').bind({ fd: sockets[0]!.fd });
  };
  const works = async (): Promise<void> => {
    const { output } = await inPod(other, 'nslookup', 'evil', '127.0.0.11');
    assert.ok(output.includes(pod.endpoints[0]!.ipv4!.address), output);
  };

  test('thousands of packets of noise get at most as many bytes back, and others go on resolving', async () => {
    const socket = await client();
    let sent = 0;
    let received = 0;
    socket.on('message', (data) => (received += data.length));
    const noise = fc.sample(fc.uint8Array({ minLength: 1, maxLength: 512 }), 3000);
    const damaged = fc
      .sample(fc.tuple(fc.domain(), fc.nat(80), fc.nat(255)), 1000)
      .map(([name, at, byte]) => {
        const packet = encode({ type: 'query', id: 1, questions: [{ type: 'MX', name: `${name}.lab` }] });
        packet[Math.min(at, 11)] = byte;
        return packet;
      });
    for (const [index, packet] of [...noise, ...damaged].entries()) {
      sent += packet.length;
      socket.send(packet, 53, '127.0.0.11');
      if (index % 100 === 0) await delay(5);
    }
    await delay(300);
    assert.ok(received <= sent, `${received} bytes for ${sent}`);
    socket.close();
    await works();
  });

  test('a name asked for with a tiny packet is answered within what was allowed', async () => {
    const socket = await client();
    const reply = new Promise<Buffer>((resolve) => socket.once('message', resolve));
    const questions = [{ type: 'A' as const, name: 'good' }];
    const additionals = [
      {
        type: 'OPT' as const,
        name: '.' as const,
        udpPayloadSize: 65_535,
        flags: 0,
        flag_do: false,
        extendedRcode: 0,
        ednsVersion: 0,
        options: [],
      },
    ];
    socket.send(encode({ type: 'query', id: 9, questions, additionals }), 53, '127.0.0.11');
    const packet = decode(await reply);
    assert.equal(packet.answers?.length, 1);
    socket.close();
  });

  test('connections that say nothing, or too much, are ended and keep nobody out', async () => {
    const script =
      'for i in $(seq 60); do (printf "\\377\\377"; sleep 3) | busybox nc -w 3 127.0.0.11 53 & done; wait';
    const flood = run('nsenter', [`--net=${pod.netnsPath}`, 'sh', '-c', script], { timeout: 20_000 });
    await delay(200);
    await works();
    await flood;
    await works();
  });

  test('answers that were not asked for are thrown away', async () => {
    const socket = await client();
    let heard = false;
    socket.on('message', () => (heard = true));
    const answers = [{ type: 'A' as const, name: 'good', data: '10.6.6.6' }];
    socket.send(
      encode({ type: 'response', id: 3, questions: [{ type: 'A', name: 'good' }], answers }),
      53,
      '127.0.0.11',
    );
    await delay(100);
    assert.equal(heard, false);
    socket.close();
  });
});

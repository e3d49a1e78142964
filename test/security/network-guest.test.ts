import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { wireGuest, type WiredLink } from '../../src/host/guest-link.ts';
import type { Attachment } from '../../src/network/network.ts';
import {
  arp,
  be16,
  compileFrames,
  ethernet,
  everybody,
  icmp,
  ip,
  mac,
  openStation,
  udp,
  type Station,
} from '../fixtures/frames.ts';
import {
  attachRequest,
  inPod,
  networkSpec,
  openNetwork,
  serveTcp,
  serveUdp,
  tcpFromHost,
  type NetworkFixture,
} from '../fixtures/network.ts';

const ETHER = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd };
const RESOLVER = '127.0.0.11';
const nobody = '00:00:00:00:00:00';

describe('guests and their neighbours, when one of them sends what it likes', () => {
  let fixture: NetworkFixture;
  let binary: string;
  let vm: Attachment;
  let victim: Attachment;
  let mallory: Attachment;
  let link: WiredLink;
  /** The guest of `vm`: whoever holds its tap. */
  let guest: Station;
  let bystander: Station;
  let count = 0;

  before(async () => {
    fixture = await openNetwork({ pool: 1 });
    await fixture.network.create(networkSpec('lan', { enableIPv6: true }));
    const on = { networks: [{ network: 'lan', endpoint: {} }] };
    const attach = (name: string): Promise<Attachment> =>
      fixture.network.attach(name, attachRequest({ name, hostname: name, ...on }));
    [vm, victim, mallory] = [await attach('vm'), await attach('victim'), await attach('mallory')];
    [link] = (await wireGuest(vm.netnsPath!, { owner: 0 })) as [WiredLink];
    binary = compileFrames(fixture.root);
    guest = await openStation(binary, vm.netnsPath!, 'tap', link.tap);
    bystander = await openStation(binary, victim.netnsPath!, 'link', 'eth0');
  });
  after(async () => {
    await guest?.close();
    await bystander?.close();
    assert.deepEqual(await fixture.dispose(), [], 'nothing is left on the host');
  });
  beforeEach(() => {
    guest.seen.length = 0;
    bystander.seen.length = 0;
  });

  const of = (pod: Attachment) => {
    const [{ macAddress, ipv4, ipv6 }] = pod.endpoints as [Attachment['endpoints'][number]];
    return { mac: macAddress, ip: ipv4!.address, ip6: ipv6!.address, gateway: ipv4!.gateway };
  };
  const linkLocal = (address: string): string => {
    const bytes = mac(address);
    const [a, b, c] = [
      Buffer.from([bytes[0]! ^ 2, bytes[1]!]),
      Buffer.from([bytes[2]!, 0xff]),
      Buffer.from([0xfe, bytes[3]!]),
    ].map((part) => part.toString('hex'));
    return `fe80::${a}:${b}:${c}:${bytes.subarray(4).toString('hex')}`;
  };
  const mark = (): Buffer => Buffer.from(`mark ${String(++count).padStart(6, '0')}`);
  /** The network works for those who do nothing wrong. */
  const holds = async (): Promise<void> => {
    const { gateway } = of(victim);
    assert.equal((await inPod(victim, 'ping', '-c1', '-W9', gateway)).code, 0);
    assert.equal((await inPod(victim, 'ping', '-c1', '-W9', of(mallory).ip)).code, 0);
    assert.equal((await inPod(victim, 'ping', '-c1', '-W9', of(mallory).ip6)).code, 0);
    const server = await serveTcp(victim, 80, 'still here');
    assert.equal(await tcpFromHost(of(victim).ip, 80), 'still here');
    server.close();
  };
  /** What the guest sends, of which the bystander sees the last one only. */
  const onlyLast = async (frames: Buffer[]): Promise<void> => {
    const last = mark();
    const { mac: from, ip: address } = of(vm);
    const { mac: to, ip: target } = of(victim);
    const good = ethernet(to, from, ETHER.ipv4, udp(address, target, 9, last));
    assert.equal(await guest.send(...frames, good), frames.length + 1);
    await bystander.until(last);
    // Its own address may be asked for meanwhile.
    const strange = bystander.seen.filter(
      (frame) =>
        !frame.includes(last) && frames.some((sent) => sent.subarray(6, 60).equals(frame.subarray(6, 60))),
    );
    assert.deepEqual(
      strange.map((frame) => frame.toString('hex')),
      [],
    );
    await holds();
  };

  test('a guest takes no neighbour’s Ethernet address', async () => {
    const { mac: to, ip: target } = of(victim);
    const { ip: address, gateway } = of(vm);
    const forged = [of(mallory).mac, of(victim).mac, '02:00:00:00:00:01', everybody];
    await onlyLast(
      forged.flatMap((from) => [
        ethernet(to, from, ETHER.ipv4, udp(address, target, 9, mark())),
        ethernet(
          everybody,
          from,
          ETHER.arp,
          arp(1, { mac: from, ip: address }, { mac: nobody, ip: gateway }),
        ),
      ]),
    );
  });

  test('a guest takes no neighbour’s, and not the gateway’s, IP address', async () => {
    const { mac: own } = of(vm);
    const { mac: to, ip: target, ip6: target6, gateway } = of(victim);
    const gateway6 = vm.endpoints[0]!.ipv6!.gateway;
    await onlyLast([
      ...[of(mallory).ip, gateway, target, '127.0.0.1', RESOLVER, '0.0.0.0', '8.8.8.8'].map((from) =>
        ethernet(to, own, ETHER.ipv4, udp(from, target, 9, mark())),
      ),
      ...[of(mallory).ip6, gateway6, linkLocal(of(mallory).mac), '::1', '::'].map((from) =>
        ethernet(to, own, ETHER.ipv6, udp(from, target6, 9, mark())),
      ),
    ]);
  });

  test('a guest says of nobody else’s address that it has it', async () => {
    const { mac: own, ip6: own6 } = of(vm);
    const { mac: to, ip: target, gateway } = of(victim);
    const all = 'ff02::1';
    const claim = (address: string): Buffer =>
      Buffer.concat([Buffer.from([0x60, 0, 0, 0]), ip(address), Buffer.from([2, 1]), mac(own)]);
    const gateway6 = vm.endpoints[0]!.ipv6!.gateway;
    await onlyLast([
      ...[of(mallory).ip, gateway].flatMap((stolen) => [
        ethernet(to, own, ETHER.arp, arp(2, { mac: own, ip: stolen }, { mac: to, ip: target })),
        ethernet(everybody, own, ETHER.arp, arp(1, { mac: own, ip: stolen }, { mac: nobody, ip: stolen })),
        // The sender in the frame is right, the one in the message is not.
        ethernet(to, own, ETHER.arp, arp(2, { mac: to, ip: of(vm).ip }, { mac: to, ip: target })),
      ]),
      ...[of(mallory).ip6, gateway6, linkLocal(of(mallory).mac)].map((stolen) =>
        ethernet('33:33:00:00:00:01', own, ETHER.ipv6, icmp(own6, all, 136, claim(stolen))),
      ),
      // It is no router, and sends nobody elsewhere.
      ethernet('33:33:00:00:00:01', own, ETHER.ipv6, icmp(linkLocal(own), all, 134, Buffer.alloc(12))),
      ethernet(to, own, ETHER.ipv6, icmp(linkLocal(own), of(victim).ip6, 137, Buffer.alloc(36))),
    ]);
    const { output } = await inPod(victim, 'arp', '-n');
    for (const line of output.split('\n'))
      if (!line.includes(`(${of(vm).ip})`)) assert.ok(!line.includes(own), output);
  });

  test('of a guest nothing passes but IPv4, ARP and IPv6, untagged', async () => {
    const { mac: own, ip: address } = of(vm);
    const { mac: to, ip: target } = of(victim);
    const inner = Buffer.concat([be16(ETHER.ipv4), udp(address, target, 9, mark())]);
    const tag = be16(1);
    await onlyLast([
      ethernet(to, own, 0x8100, Buffer.concat([tag, inner])),
      ethernet(to, own, 0x88a8, Buffer.concat([tag, be16(0x8100), tag, inner])),
      ethernet('01:80:c2:00:00:00', own, 38, Buffer.concat([Buffer.from('424203', 'hex'), Buffer.alloc(35)])),
      ethernet('01:80:c2:00:00:0e', own, 0x88cc, Buffer.alloc(46)),
      ethernet(to, own, 0x1234, Buffer.alloc(46)),
      ethernet(to, own, ETHER.arp, Buffer.alloc(46)),
    ]);
  });

  test('of its pod’s namespace a guest reaches the resolver alone', async () => {
    const servers = [await serveUdp(vm, 5000, 'secret'), await serveTcp(vm, 5000, 'secret', '127.0.0.1')];
    const { mac: own, ip: address } = of(vm);
    const station = link.neighbours[0]!.macAddress;
    const question = encode({
      type: 'query',
      id: 77,
      flags: 0x100,
      questions: [{ type: 'A', name: 'victim' }],
    });
    const ask = (to: string, from: string, port: number): Buffer =>
      ethernet(to, own, ETHER.ipv4, udp(from, RESOLVER, port, question));
    const others = ['127.0.0.1', RESOLVER, address].flatMap((target) => [
      ethernet(station, own, ETHER.ipv4, udp(address, target, 5000, mark())),
      ethernet(station, own, ETHER.ipv4, icmp(address, target, 8, Buffer.alloc(12))),
    ]);
    const foreign = [ask(station, of(mallory).ip, 53), ask(station, '127.0.0.1', 53)];
    const arps = [RESOLVER, address].map((target) =>
      ethernet(station, own, ETHER.arp, arp(1, { mac: own, ip: address }, { mac: nobody, ip: target })),
    );
    await guest.send(...others, ...foreign, ...arps, ask(station, address, 53));
    const answer = await guest.until(be16(77));
    const reply = decode(answer.subarray(42));
    assert.deepEqual(
      reply.answers!.map((one) => 'data' in one && one.data),
      [of(victim).ip],
    );
    const fromNamespace = guest.seen.filter((frame) => frame.subarray(6, 12).equals(mac(station)));
    assert.equal(fromNamespace.length, 1, 'one question, one answer');
    for (const server of servers) server.close();
  });

  test('a container reaches nothing of the namespace, and is not taken for the resolver', async (t) => {
    const attacker = await openStation(binary, mallory.netnsPath!, 'link', 'eth0');
    t.after(() => attacker.close());
    const { mac: own, ip: address, ip6 } = of(mallory);
    const { mac: to, ip: target, ip6: target6 } = of(vm);
    const station = link.neighbours[0]!.macAddress;
    const question = encode({
      type: 'query',
      id: 78,
      flags: 0x100,
      questions: [{ type: 'A', name: 'victim' }],
    });
    const spoofed = [
      ...[RESOLVER, '127.0.0.1'].map((from) =>
        ethernet(to, own, ETHER.ipv4, udp(from, target, 4000, mark())),
      ),
      ...[RESOLVER, '127.0.0.1'].map((aim) => ethernet(to, own, ETHER.ipv4, udp(address, aim, 53, question))),
      ethernet(
        to,
        own,
        0x8100,
        Buffer.concat([be16(1), be16(ETHER.ipv4), udp(RESOLVER, target, 4000, mark())]),
      ),
    ];
    const probes = [station, to, everybody].flatMap((aim) => [
      ethernet(aim, own, ETHER.ipv4, udp(address, target, 53, question)),
      ethernet(aim, own, ETHER.ipv4, icmp(address, target, 8, Buffer.alloc(12))),
      ethernet(aim, own, ETHER.ipv6, icmp(ip6, target6, 128, Buffer.alloc(12))),
      ethernet(aim, own, ETHER.arp, arp(1, { mac: own, ip: address }, { mac: nobody, ip: target })),
      ethernet(aim, own, ETHER.arp, arp(1, { mac: own, ip: address }, { mac: nobody, ip: RESOLVER })),
    ]);
    const last = mark();
    await attacker.send(...spoofed, ...probes, ethernet(to, own, ETHER.ipv4, udp(address, target, 9, last)));
    await guest.until(last);
    for (const frame of guest.seen)
      if (frame.readUInt16BE(12) !== ETHER.arp) assert.ok(!spoofed.some((sent) => sent.equals(frame)));
    // This guest never answers, and nobody does in its place.
    const answers = attacker.seen.filter((frame) =>
      [to, station].some((from) => frame.subarray(6, 12).equals(mac(from))),
    );
    assert.deepEqual(answers, []);
    await holds();
  });

  test('floods, frames of any size and broken headers of a guest’s monitor hurt nobody', async () => {
    const { mac: own, ip: address, gateway } = of(vm);
    const { mac: to, ip: target } = of(victim);
    const ask = arp(1, { mac: own, ip: address }, { mac: nobody, ip: gateway });
    await guest.flood(20_000, ethernet(everybody, own, ETHER.arp, ask));
    await guest.flood(
      20_000,
      ethernet(everybody, own, ETHER.ipv4, udp(address, '255.255.255.255', 9, mark())),
    );
    for (const size of [1600, 9000, 60_000])
      await guest.flood(50, ethernet(to, own, ETHER.ipv4, udp(address, target, 9, Buffer.alloc(size))));
    const frame = ethernet(to, own, ETHER.ipv4, udp(address, target, 9, Buffer.alloc(1200)));
    for (let size = 0; size < 64; size++)
      await guest.raw(Buffer.concat([Buffer.alloc(10), frame.subarray(0, size)]));
    // struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
    const header = (flags: number, type: number, ...words: number[]): Buffer => {
      const out = Buffer.alloc(10);
      out.set([flags, type]);
      for (const [index, word] of words.entries()) out.writeUInt16LE(word, 2 + index * 2);
      return out;
    };
    for (const flags of [0, 1, 2, 255])
      for (const type of [0, 1, 3, 4, 5, 0x81, 255])
        for (const word of [0, 1, 14, 1199, 65_535])
          await guest.raw(Buffer.concat([header(flags, type, word, word, word, word), frame]));
    await onlyLast([]);
  });
});

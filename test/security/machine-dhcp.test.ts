import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { wireGuest, type WiredLink } from '../../src/host/guest-link.ts';
import type { Attachment } from '../../src/network/network.ts';
import { formatIcmp6, formatUdp } from '../../src/network/dhcp/frames.ts';
import {
  arp,
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
import { attachRequest, inPod, networkSpec, openNetwork, type NetworkFixture } from '../fixtures/network.ts';

/** Guests that configure themselves trust whoever answers first: nobody but Isle may. */
describe('guests that ask for their addresses, among those who would like to answer', () => {
  let fixture: NetworkFixture;
  let pods: Record<'vm' | 'other' | 'mallory', Attachment>;
  let links: Record<'vm' | 'other', WiredLink>;
  let vm: Station;
  let other: Station;
  let mallory: Station;
  let count = 0;
  const mark = (): Buffer => Buffer.from(`mark ${String(++count).padStart(6, '0')}`);

  before(async () => {
    fixture = await openNetwork({ pool: 0 });
    await fixture.network.create(networkSpec('lan', { enableIPv6: true }));
    const on = { networks: [{ network: 'lan', endpoint: {} }] };
    const attach = (name: string): Promise<Attachment> =>
      fixture.network.attach(name, attachRequest({ name, hostname: name, ...on }));
    pods = { vm: await attach('vm'), other: await attach('other'), mallory: await attach('mallory') };
    const wire = async (name: 'vm' | 'other'): Promise<WiredLink> => {
      const [link] = await wireGuest(pods[name].netnsPath!, { owner: 0, configuresItself: true });
      await fixture.network.serveGuest(name);
      return link!;
    };
    links = { vm: await wire('vm'), other: await wire('other') };
    const binary = compileFrames(fixture.root);
    vm = await openStation(binary, pods.vm.netnsPath!, 'tap', links.vm.tap);
    other = await openStation(binary, pods.other.netnsPath!, 'tap', links.other.tap);
    mallory = await openStation(binary, pods.mallory.netnsPath!, 'link', 'eth0');
  });
  after(async () => {
    for (const station of [vm, other, mallory]) await station?.close();
    assert.deepEqual(await fixture.dispose(), [], 'nothing is left on the host');
  });
  beforeEach(() => {
    for (const station of [vm, other, mallory]) station.seen.length = 0;
  });

  const of = (name: keyof typeof pods) => {
    const { macAddress, ipv4, ipv6 } = pods[name].endpoints[0]!;
    return {
      mac: macAddress,
      ip: ipv4!.address,
      ip6: ipv6!.address,
      gateway: ipv4!.gateway,
      gateway6: ipv6!.gateway,
    };
  };
  const linkLocal = (address: string): string => {
    const [a, b, c, d, e, f] = mac(address) as unknown as [number, number, number, number, number, number];
    const hex = (...bytes: number[]) => Buffer.from(bytes).toString('hex');
    return `fe80::${hex(a ^ 2, b)}:${hex(c, 0xff)}:${hex(0xfe, d)}:${hex(e, f)}`;
  };
  const discover = (chaddr: string, from = chaddr): Buffer => {
    const head = Buffer.alloc(236);
    head.set([1, 1, 6, 0, 7, 7, 7, 7]);
    head.set(mac(chaddr), 28);
    const data = Buffer.concat([head, Buffer.from([99, 130, 83, 99, 53, 1, 1, 255])]);
    return formatUdp({
      ...{ fromMac: mac(from), toMac: mac(everybody), from: ip('0.0.0.0'), to: ip('255.255.255.255') },
      ...{ fromPort: 68, toPort: 67, data },
    });
  };
  /** What only a DHCP server or a router says, by whoever has `from`. */
  const offers = (
    from: { mac: string; ip: string },
    to: { mac: string; ip: string; ip6: string },
    data: Buffer,
  ): Buffer[] => [
    formatUdp({
      ...{ fromMac: mac(from.mac), toMac: mac(to.mac), from: ip(from.ip), to: ip(to.ip) },
      ...{ fromPort: 67, toPort: 68, data },
    }),
    formatUdp({
      ...{ fromMac: mac(from.mac), toMac: mac(everybody), from: ip(from.ip), to: ip('255.255.255.255') },
      ...{ fromPort: 67, toPort: 68, data },
    }),
    formatUdp({
      ...{
        fromMac: mac(from.mac),
        toMac: mac(to.mac),
        from: ip(linkLocal(from.mac)),
        to: ip(linkLocal(to.mac)),
      },
      ...{ fromPort: 547, toPort: 546, data },
    }),
    ...[134, 137].map((type) =>
      formatIcmp6({
        ...{
          fromMac: mac(from.mac),
          toMac: mac('33:33:00:00:00:01'),
          from: ip(linkLocal(from.mac)),
          to: ip('ff02::1'),
        },
        ...{ type, body: Buffer.concat([Buffer.from([64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]), data]) },
      }),
    ),
  ];
  /** Frames of a station, and what of them a guest sees: the last, sound one alone. */
  const onlyLast = async (
    by: Station,
    at: Station,
    from: 'vm' | 'mallory',
    to: 'vm' | 'other',
    frames: Buffer[],
  ) => {
    const last = mark();
    const good = ethernet(of(to).mac, of(from).mac, 0x0800, udp(of(from).ip, of(to).ip, 9, last));
    await by.send(...frames, good);
    await at.until(last);
    const forged = at.seen.filter((frame) =>
      frames.some((one) => one.subarray(14, 60).equals(frame.subarray(14, 60))),
    );
    assert.deepEqual(
      forged.map((frame) => frame.toString('hex')),
      [],
    );
  };

  test('a container offers a guest nothing: no lease, no router, no redirection', async () => {
    await onlyLast(mallory, vm, 'mallory', 'vm', offers(of('mallory'), of('vm'), mark()));
    // Nor in the gateway's name.
    const { gateway } = of('vm');
    await onlyLast(
      mallory,
      vm,
      'mallory',
      'vm',
      offers({ mac: of('mallory').mac, ip: gateway }, of('vm'), mark()),
    );
  });

  test('a guest offers its neighbours nothing', async () => {
    await onlyLast(vm, other, 'vm', 'other', offers(of('vm'), of('other'), mark()));
    assert.ok(mallory.seen.every((frame) => !frame.includes(Buffer.from('mark 000003'))));
  });

  test('nobody hears a guest ask', async () => {
    const solicit = formatIcmp6({
      ...{
        fromMac: mac(of('vm').mac),
        toMac: mac('33:33:00:00:00:02'),
        from: ip(linkLocal(of('vm').mac)),
        to: ip('ff02::2'),
      },
      ...{ type: 133, body: Buffer.alloc(4) },
    });
    const last = mark();
    const good = ethernet(
      of('mallory').mac,
      of('vm').mac,
      0x0800,
      udp(of('vm').ip, of('mallory').ip, 9, last),
    );
    await vm.send(discover(of('vm').mac), solicit, good);
    await mallory.until(last);
    assert.ok(!mallory.seen.some((frame) => frame.includes(Buffer.from([7, 7, 7, 7])) || frame[54] === 133));
    // And it was answered: its own address, from the gateway.
    const offer = await vm.until(
      Buffer.concat([ip(of('vm').gateway), ip(of('vm').ip), Buffer.from([0, 67, 0, 68])]),
    );
    assert.ok(offer.includes(Buffer.from([7, 7, 7, 7])));
    for (let tries = 0; !vm.seen.some((frame) => frame[54] === 134); tries++, await sleep(20))
      assert.ok(tries < 500, 'no router answered');
  });

  test('a guest gets no answer in another’s name', async () => {
    await vm.send(
      discover(of('other').mac),
      discover(of('other').mac, of('vm').mac),
      discover(of('vm').mac, of('other').mac),
    );
    await vm.send(discover(of('vm').mac));
    const answers = (): Buffer[] => vm.seen.filter((frame) => frame.includes(Buffer.from([0, 67, 0, 68])));
    for (const end = Date.now() + 10_000; answers().length === 0 && Date.now() < end; ) await sleep(20);
    assert.deepEqual(
      answers().map((frame) => frame.subarray(30, 34).join('.')),
      [of('vm').ip],
    );
    assert.ok(!other.seen.some((frame) => frame.includes(Buffer.from([0, 67, 0, 68]))));
  });

  test('a guest with a link-local address of its own choice takes no neighbour’s, and not the router’s', async () => {
    const chosen = 'fe80::1234:5678:9abc:def0';
    const own = of('vm').mac;
    const bridge = 'fe80::42:aff:feab:1';
    const advertisement = (from: string, target: string): Buffer =>
      ethernet(
        of('other').mac,
        own,
        0x86dd,
        icmp(
          from,
          of('other').ip6,
          136,
          Buffer.concat([Buffer.from([0x60, 0, 0, 0]), ip(target), Buffer.from([2, 1]), mac(own)]),
        ),
      );
    const good = advertisement(chosen, chosen);
    const bad = [
      advertisement(chosen, bridge),
      advertisement(chosen, linkLocal(of('mallory').mac)),
      advertisement(chosen, of('mallory').ip6),
      advertisement(chosen, of('vm').gateway6),
      advertisement(bridge, chosen),
      advertisement(of('mallory').ip6, chosen),
    ];
    await onlyLast(vm, other, 'vm', 'other', bad);
    await vm.send(good);
    await other.until(good.subarray(14, 100));
    const stolen = arp(2, { mac: own, ip: of('vm').gateway }, { mac: of('other').mac, ip: of('other').ip });
    await onlyLast(vm, other, 'vm', 'other', [ethernet(everybody, own, 0x0806, stolen)]);
  });

  test('of its namespace a guest reaches the resolver, at its gateway’s address, and nothing else', async () => {
    const { mac: own, ip: address, gateway } = of('vm');
    const { output } = await inPod(pods.vm, 'netstat', '-lntu');
    const open = [...output.matchAll(/^(tcp|udp)\s+\d+\s+\d+\s+(\S+?:\d+)\s/gm)].map(
      (one) => `${one[1]} ${one[2]}`,
    );
    const both = ['tcp', 'udp'].flatMap((protocol) =>
      [gateway, of('vm').gateway6].map((one) => `${protocol} ${one}:53`),
    );
    assert.deepEqual(open.filter((one) => !one.includes('127.0.0.11')).toSorted(), both.toSorted(), output);
    // Another port of that address, and the resolver's for others, go out to the network: to the real gateway.
    const [far, resolver, forged, last] = [mark(), mark(), mark(), mark()];
    const frame = (from: string, to: string, port: number, data: Buffer): Buffer =>
      ethernet(of('mallory').mac, own, 0x0800, udp(from, to, port, data));
    await vm.send(
      frame(address, gateway, 54, far),
      frame(address, '127.0.0.11', 53, resolver),
      frame(of('other').ip, gateway, 53, forged),
      frame(address, of('mallory').ip, 9, last),
    );
    await mallory.until(last);
    const came = [far, resolver, forged, last].map((one) => mallory.seen.some((seen) => seen.includes(one)));
    assert.deepEqual(came, [true, false, false, true]);
  });

  test('a flood of questions is answered slowly, and keeps nobody else from being answered', async () => {
    await vm.flood(20_000, discover(of('vm').mac));
    const before = vm.seen.length;
    await other.send(discover(of('other').mac));
    await other.until(Buffer.concat([ip(of('other').ip), Buffer.from([0, 67, 0, 68])]));
    assert.ok(before < 500, `${before} answers`);
    const last = mark();
    await vm.send(
      ethernet(of('mallory').mac, of('vm').mac, 0x0800, udp(of('vm').ip, of('mallory').ip, 9, last)),
    );
    await mallory.until(last);
  });
});

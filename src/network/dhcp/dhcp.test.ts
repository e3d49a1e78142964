import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatAddress, parseAddress } from '../../lib/address.ts';
import { answerFrame } from './answer.ts';
import { DHCP6, formatDhcp6, option6, OPTION6 } from './dhcp6.ts';
import { DHCP, OPTION, parseDhcp } from './dhcp4.ts';
import { be16, be32, formatIcmp6, formatUdp, parseFrame, type UdpPacket } from './frames.ts';
import type { GuestLease } from './lease.ts';
import { advertise, linkLocal } from './router.ts';

const mac = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');
const ip = (text: string): Buffer => parseAddress(text)!;

const lease: GuestLease = {
  macAddress: mac('02:42:ac:12:00:02'),
  serverMac: mac('06:42:ac:12:00:02'),
  mtu: 1450,
  hostname: 'machine',
  domain: 'lan',
  search: ['lan', 'example.test'],
  duration: 3600,
  ipv4: {
    address: ip('172.18.0.2'),
    prefixLength: 16,
    server: ip('172.18.0.1'),
    router: ip('172.18.0.1'),
    routes: [],
    resolvers: [ip('172.18.0.1')],
  },
  ipv6: {
    address: ip('fd00:1::2'),
    prefixLength: 64,
    router: { address: ip('fe80::42:1'), macAddress: mac('02:42:00:00:00:01') },
    leadsOut: true,
    resolvers: [ip('fd00:1::1')],
  },
};
const nowhere = Buffer.alloc(4);
const everywhere = Buffer.alloc(4, 255);

interface Ask {
  type: number;
  options?: [number, Buffer][];
  from?: Buffer;
  ciaddr?: Buffer;
  chaddr?: Buffer;
  broadcast?: boolean;
}

function question({
  type,
  options = [],
  ciaddr = nowhere,
  chaddr = lease.macAddress,
  broadcast,
}: Ask): Buffer {
  const head = Buffer.alloc(236);
  head.set([1, 1, 6, 0, 1, 2, 3, 4]);
  if (broadcast) head[10] = 0x80;
  head.set(ciaddr, 12);
  head.set(chaddr, 28);
  const all: [number, Buffer][] = [[OPTION.type, Buffer.from([type])], ...options];
  const encoded = all.map(([code, value]) => Buffer.concat([Buffer.from([code, value.length]), value]));
  return Buffer.concat([head, Buffer.from([99, 130, 83, 99]), ...encoded, Buffer.from([255])]);
}

function frameOf(data: Buffer, from: Buffer = nowhere): Buffer {
  return formatUdp({
    ...{ fromMac: lease.macAddress, toMac: Buffer.alloc(6, 255), from, to: everywhere },
    ...{ fromPort: 68, toPort: 67, data },
  });
}

/** What the guest gets for it. */
function ask(about: Ask, given = lease) {
  const frame = answerFrame(frameOf(question(about), about.from), given);
  if (frame === undefined) return undefined;
  const packet = parseFrame(frame) as { kind: 'udp' } & UdpPacket;
  // Read as a question is: the two differ in the first byte.
  const reply = parseDhcp(Buffer.concat([Buffer.from([1]), packet.data.subarray(1)]))!;
  return { ...reply, packet, yiaddr: formatAddress(packet.data.subarray(16, 20)), bytes: packet.data.length };
}

test('a guest is offered its address and given it, with all that it needs', () => {
  const offer = ask({ type: DHCP.discover })!;
  assert.deepEqual([offer.type, offer.yiaddr], [DHCP.offer, '172.18.0.2']);
  assert.deepEqual(
    [offer.packet.from, offer.packet.to, offer.packet.toMac].map((one) => one.toString('hex')),
    ['ac120001', 'ac120002', '0242ac120002'],
  );
  const options: [number, Buffer][] = [
    [OPTION.requestedAddress, ip('172.18.0.2')],
    [OPTION.server, ip('172.18.0.1')],
    [OPTION.client, Buffer.from([1, 2, 3])],
  ];
  const ack = ask({ type: DHCP.request, options })!;
  assert.deepEqual(
    [ack.type, ack.yiaddr, ack.transaction.toString('hex')],
    [DHCP.ack, '172.18.0.2', '01020304'],
  );
  const expected: [number, Buffer][] = [
    [OPTION.mask, ip('255.255.0.0')],
    [OPTION.router, ip('172.18.0.1')],
    [OPTION.resolvers, ip('172.18.0.1')],
    [OPTION.broadcast, ip('172.18.255.255')],
    [OPTION.mtu, be16(1450)],
    [OPTION.duration, be32(3600)],
    [OPTION.hostname, Buffer.from('machine')],
    [OPTION.domain, Buffer.from('lan')],
    [OPTION.search, Buffer.from('\x03lan\0\x07example\x04test\0', 'latin1')],
    [OPTION.client, Buffer.from([1, 2, 3])],
  ];
  for (const [code, value] of expected) assert.deepEqual(ack.options.get(code), value, `option ${code}`);
  assert.ok(!ack.options.has(OPTION.routes) && ack.bytes >= 300);
});

test('a guest that asks for another address, or another server, gets neither', () => {
  const wants = (address: string): [number, Buffer] => [OPTION.requestedAddress, ip(address)];
  const nak = ask({ type: DHCP.request, options: [wants('172.18.0.9')] })!;
  assert.deepEqual(
    [nak.type, nak.yiaddr, formatAddress(nak.packet.to)],
    [DHCP.nak, '0.0.0.0', '255.255.255.255'],
  );
  assert.equal(ask({ type: DHCP.discover, options: [wants('172.18.0.9')] })!.yiaddr, '172.18.0.2');
  assert.equal(
    ask({ type: DHCP.request, options: [wants('172.18.0.2'), [OPTION.server, ip('172.18.0.7')]] }),
    undefined,
  );
  assert.equal(ask({ type: DHCP.request, ciaddr: ip('172.18.0.5'), from: ip('172.18.0.5') })!.type, DHCP.nak);
});

test('renewing, rebinding, asking for settings alone, leaving: each has its answer', () => {
  const own = ip('172.18.0.2');
  const renewed = ask({ type: DHCP.request, ciaddr: own, from: own })!;
  assert.deepEqual(
    [renewed.type, renewed.yiaddr, formatAddress(renewed.packet.to)],
    [DHCP.ack, '172.18.0.2', '172.18.0.2'],
  );
  const informed = ask({ type: DHCP.inform, ciaddr: own, from: own })!;
  assert.deepEqual([informed.type, informed.yiaddr], [DHCP.ack, '0.0.0.0']);
  assert.ok(!informed.options.has(OPTION.duration) && informed.options.has(OPTION.router));
  assert.equal(ask({ type: DHCP.release, ciaddr: own, from: own }), undefined);
  let declined = 0;
  answerFrame(frameOf(question({ type: DHCP.decline })), lease, { declined: () => declined++ });
  assert.equal(declined, 1);
  assert.equal(formatAddress(ask({ type: DHCP.discover, broadcast: true })!.packet.to), '255.255.255.255');
  assert.equal(
    ask({ type: DHCP.discover, options: [[OPTION.rapidCommit, Buffer.alloc(0)]] })!.type,
    DHCP.ack,
  );
});

test('another station, a relay and another protocol are nobody to answer', () => {
  assert.equal(ask({ type: DHCP.discover, chaddr: mac('02:42:ac:12:00:03') }), undefined);
  assert.equal(ask({ type: DHCP.discover, from: ip('10.0.0.1') }), undefined);
  const relayed = question({ type: DHCP.discover });
  relayed[24] = 10;
  assert.equal(answerFrame(frameOf(relayed), lease), undefined);
  const forged = frameOf(question({ type: DHCP.discover }));
  forged[6] = 0x12;
  assert.equal(answerFrame(forged, lease), undefined);
  const { ipv4: _none, ...only6 } = lease;
  assert.equal(answerFrame(frameOf(question({ type: DHCP.discover })), only6), undefined);
});

test('a way out beyond the link, and further routes, are told as routes', () => {
  const far = {
    ...lease,
    ipv4: {
      ...lease.ipv4!,
      router: ip('10.9.9.9'),
      routes: [{ destination: ip('10.1.0.0'), prefixLength: 16 }],
    },
  };
  const options = ask({ type: DHCP.discover }, far)!.options;
  assert.equal(
    options.get(OPTION.routes)!.toString('hex'),
    '200a09090900000000' + '100a0100000000' + '000a090909',
  );
  assert.deepEqual(options.get(OPTION.routesOfWindows), options.get(OPTION.routes));
  const { router: _none, ...inner } = lease.ipv4!;
  assert.ok(!ask({ type: DHCP.discover }, { ...lease, ipv4: inner })!.options.has(OPTION.router));
});

test('an answer is no longer than the guest takes', () => {
  const search = Array.from({ length: 40 }, (_, index) => `a-rather-long-name-${index}.example.test`);
  const long = { ...lease, search };
  assert.ok(ask({ type: DHCP.discover }, long)!.bytes <= 548);
  const size: [number, Buffer] = [OPTION.maximumSize, be16(1500)];
  const whole = ask({ type: DHCP.discover, options: [size] }, { ...long, search: search.slice(0, 20) })!;
  assert.ok(whole.bytes > 548 && whole.bytes <= 1472);
  // RFC 3396: in pieces.
  assert.ok(whole.options.get(OPTION.search)!.length > 255);
});

const link = linkLocal(lease.macAddress);
const duid = Buffer.from('00030001' + '0242ac120002', 'hex');
const server = Buffer.concat([Buffer.from('00030001', 'hex'), lease.serverMac]);

function ask6(
  type: number,
  options: Buffer[],
  from = link,
): { type: number; options: Map<number, Buffer> } | undefined {
  const data = formatDhcp6(type, Buffer.from([1, 2, 3]), options);
  const frame = formatUdp({
    ...{ fromMac: lease.macAddress, toMac: mac('33:33:00:01:00:02'), from, to: ip('ff02::1:2') },
    ...{ fromPort: 546, toPort: 547, data },
  });
  const answer = answerFrame(frame, lease);
  if (answer === undefined) return undefined;
  const { data: reply } = parseFrame(answer) as { kind: 'udp' } & UdpPacket;
  const found = new Map<number, Buffer>();
  for (let at = 4; at < reply.length; at += 4 + reply.readUInt16BE(at + 2))
    found.set(reply.readUInt16BE(at), reply.subarray(at + 4, at + 4 + reply.readUInt16BE(at + 2)));
  return { type: reply[0]!, options: found };
}
const client = option6(OPTION6.client, duid);
const wants = (...addresses: string[]): Buffer =>
  option6(
    OPTION6.addresses,
    be32(7),
    be32(0),
    be32(0),
    ...addresses.map((one) => option6(OPTION6.address, ip(one), be32(1), be32(1))),
  );
const given = (reply: { options: Map<number, Buffer> }): string[] => {
  const value = reply.options.get(OPTION6.addresses)!.subarray(12);
  const list: string[] = [];
  for (let at = 0; at < value.length; at += 28)
    list.push(`${formatAddress(value.subarray(at + 4, at + 20))} ${value.readUInt32BE(at + 24)}`);
  return list;
};

test('DHCPv6 gives the one address, whatever is hoped for', () => {
  const advertised = ask6(DHCP6.solicit, [client, wants()])!;
  assert.deepEqual([advertised.type, given(advertised)], [DHCP6.advertise, ['fd00:1::2 3600']]);
  assert.deepEqual(advertised.options.get(OPTION6.server), server);
  assert.deepEqual(advertised.options.get(OPTION6.client), duid);
  assert.deepEqual(advertised.options.get(OPTION6.resolvers), ip('fd00:1::1'));
  const replied = ask6(DHCP6.request, [client, option6(OPTION6.server, server), wants('fd00:1::9')])!;
  assert.deepEqual([replied.type, given(replied)], [DHCP6.reply, ['fd00:1::2 3600', 'fd00:1::9 0']]);
  for (const type of [DHCP6.renew, DHCP6.request])
    assert.equal(ask6(type, [client, option6(OPTION6.server, duid), wants()]), undefined, 'another server');
  assert.deepEqual(given(ask6(DHCP6.rebind, [client, wants('fd00:1::2')])!), ['fd00:1::2 3600']);
  const status = (type: number, ...options: Buffer[]) =>
    ask6(type, [client, ...options])
      ?.options.get(OPTION6.status)
      ?.readUInt16BE(0);
  assert.equal(status(DHCP6.confirm, wants('fd00:1::2')), 0);
  assert.equal(status(DHCP6.confirm, wants('fd00:1::3')), 4);
  assert.equal(status(DHCP6.release, option6(OPTION6.server, server), wants('fd00:1::2')), 0);
  assert.ok(ask6(DHCP6.inform, [])!.options.has(OPTION6.resolvers));
  assert.equal(ask6(DHCP6.solicit, [wants()]), undefined, 'nobody');
  assert.equal(ask6(DHCP6.solicit, [client, wants()], ip('fd00:1::2')), undefined, 'from beyond the link');
});

test('a router is advertised that has no addresses to be made of its prefix', () => {
  const solicitation = formatIcmp6({
    ...{ fromMac: lease.macAddress, toMac: mac('33:33:00:00:00:02'), from: link, to: ip('ff02::2') },
    ...{ type: 133, body: be32(0) },
  });
  const answer = parseFrame(answerFrame(solicitation, lease)!)!;
  assert.equal(answer.kind, 'icmp6');
  assert.ok(answer.kind === 'icmp6' && answer.type === 134);
  assert.equal(formatAddress(answer.from), 'fe80::42:1');
  const text = answer.body.toString('hex');
  assert.ok(text.startsWith('40c0ffff'), 'managed, and a router for as long as can be');
  assert.ok(text.includes('0101024200000001'), 'its station');
  assert.ok(text.includes('0501000' + '0' + '000005aa'), 'the MTU');
  assert.ok(
    text.includes('03044080' + 'ffffffff'.repeat(2) + '00000000' + 'fd000001'),
    'on the link, and no more',
  );
  assert.ok(text.includes('1903' + '0000' + 'ffffffff' + 'fd000001'), 'the resolver');
  const { ipv6: _none, ...only4 } = lease;
  assert.equal(advertise(only4), undefined);
  const closed = parseFrame(advertise({ ...lease, ipv6: { ...lease.ipv6!, leadsOut: false } })!)!;
  assert.ok(closed.kind === 'icmp6' && closed.body.readUInt16BE(2) === 0);
});

test('no frame makes the answering throw, or answer with an amplification', () => {
  const seeds = [
    frameOf(question({ type: DHCP.discover, options: [[OPTION.overload, Buffer.from([3])]] })),
    frameOf(question({ type: DHCP.request, options: [[OPTION.requestedAddress, ip('172.18.0.2')]] })),
    formatUdp({
      ...{ fromMac: lease.macAddress, toMac: lease.serverMac, from: link, to: ip('ff02::1:2') },
      ...{
        fromPort: 546,
        toPort: 547,
        data: formatDhcp6(1, Buffer.from([1, 2, 3]), [client, wants('fd00::9')]),
      },
    }),
    formatIcmp6({
      ...{ fromMac: lease.macAddress, toMac: lease.serverMac, from: link, to: ip('ff02::2') },
      ...{ type: 133, body: be32(0) },
    }),
  ];
  const check = (frame: Buffer): void => {
    const answer = answerFrame(frame, lease);
    if (answer === undefined) return;
    assert.ok(answer.length <= 1514);
    assert.ok(parseFrame(answer), 'what is answered is whole');
    assert.ok(answer.subarray(0, 6).equals(lease.macAddress) || (answer[0]! & 1) === 1, 'to the guest');
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 700 }), (raw) => check(Buffer.from(raw))),
    { numRuns: 2000 },
  );
  const damage = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 });
  fc.assert(
    fc.property(fc.constantFrom(...seeds), damage, fc.nat(400), (seed, places, cut) => {
      const frame = Buffer.from(seed);
      for (const [at, byte] of places) if (at >= 14) frame[at % frame.length] = byte;
      check(frame.subarray(0, cut > 350 ? frame.length : frame.length - (cut % 60)));
    }),
    { numRuns: 5000 },
  );
  // Options of any shape behind a sound head.
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 900 }), fc.boolean(), (raw, v6) => {
      const data = v6
        ? Buffer.concat([Buffer.from([1, 1, 2, 3]), Buffer.from(raw)])
        : Buffer.concat([question({ type: DHCP.discover }).subarray(0, 240), Buffer.from(raw)]);
      check(
        v6
          ? formatUdp({
              ...{ fromMac: lease.macAddress, toMac: lease.serverMac, from: link, to: ip('ff02::1:2') },
              ...{ fromPort: 546, toPort: 547, data },
            })
          : frameOf(data),
      );
    }),
    { numRuns: 3000 },
  );
});

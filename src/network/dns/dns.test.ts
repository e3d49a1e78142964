import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { decode, encode } from 'dns-packet';
import fc from 'fast-check';
import type { StoredEndpoint } from '../records.ts';
import { Names } from './names.ts';
import { answer, fit, parseQuery, reverseAddress, type Query } from './query.ts';
import { askUpstream, isReplyTo, withLength } from './upstream.ts';

const question = (name: string, type: 'A' | 'MX' = 'A', id = 7): Buffer =>
  encode({ type: 'query', id, flags: 0x100, questions: [{ type, name }] });
const parsed = (packet: Buffer): Query => parseQuery(packet) as Query;

test('no packet makes the parser throw, loop, or answer with more than it was sent', () => {
  const start = process.hrtime.bigint();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (raw) => {
      const result = parseQuery(Buffer.from(raw));
      if (Buffer.isBuffer(result)) assert.ok(result.length <= raw.length);
    }),
    { numRuns: 2000 },
  );
  // Valid questions with one part of them damaged.
  fc.assert(
    fc.property(fc.domain(), fc.nat(60), fc.nat(255), (name, at, byte) => {
      const packet = question(name);
      packet[at % packet.length] = byte;
      const result = parseQuery(packet);
      if (Buffer.isBuffer(result)) assert.ok(result.length <= packet.length);
    }),
    { numRuns: 2000 },
  );
  assert.ok(process.hrtime.bigint() - start < 20_000_000_000n);
});

test('hostile questions get an error or nothing', () => {
  const rcode = (packet: Buffer): number | undefined => {
    const result = parseQuery(packet);
    return Buffer.isBuffer(result) ? result[3]! & 0xf : undefined;
  };
  const header = (...words: number[]): Buffer =>
    Buffer.concat(words.map((word) => Buffer.from([word >> 8, word & 255])));
  assert.equal(parseQuery(Buffer.alloc(11)), undefined);
  assert.equal(parseQuery(Buffer.alloc(5000)), undefined);
  assert.equal(parseQuery(header(1, 0x8000, 1, 0, 0, 0)), undefined, 'an answer is not answered');
  assert.equal(rcode(header(1, 0x2800, 1, 0, 0, 0)), 4, 'an update');
  assert.equal(rcode(header(1, 0x0100, 0, 0, 0, 0)), 1, 'no question');
  assert.equal(rcode(header(1, 0x0100, 65_535, 0, 0, 0)), 1, 'many questions');
  assert.equal(rcode(header(1, 0x0100, 1, 0, 0, 65_535)), 1, 'many records');
  const pointer = Buffer.concat([header(1, 0x0100, 1, 0, 0, 0), Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
  assert.equal(rcode(pointer), 1, 'a name that points at itself');
});

test('an answer stays within what the client takes, and says when it was cut', () => {
  const query = parsed(question('many.example'));
  const records = Array.from({ length: 200 }, (_, index) => ({
    type: 'A' as const,
    data: `10.0.0.${index}`,
  }));
  const data = answer(query, 0, records, query.size);
  assert.ok(data.length <= 512);
  const reply = decode(data);
  assert.ok(reply.flag_tc && reply.answers!.length > 5);
  assert.equal(decode(answer(query, 0, records, 65_535)).answers!.length, 200);
  const cut = fit(query, answer(query, 0, records, 65_535), 512);
  assert.ok(cut.length <= 512 && decode(cut).flag_tc && decode(cut).id === 7);
});

test('any type of question gets an answer that repeats it, byte for byte', () => {
  fc.assert(
    fc.property(fc.domain(), fc.nat(65_535), fc.boolean(), (name, type, tcp) => {
      const packet = question(name.toUpperCase());
      packet.writeUInt16BE(type, packet.length - 4);
      const query = parsed(packet);
      const data = answer(query, 0, [{ type: 'AAAA', data: 'fd00::1' }], tcp ? 65_535 : 512);
      assert.deepEqual(data.subarray(12, packet.length), packet.subarray(12));
      const reply = decode(data);
      assert.equal(reply.answers?.[0]?.name, name.toUpperCase());
    }),
  );
});

test('a client that speaks EDNS is answered with it', () => {
  const additionals = [
    {
      type: 'OPT' as const,
      name: '.' as const,
      udpPayloadSize: 1232,
      flags: 0,
      flag_do: false,
      extendedRcode: 0,
      ednsVersion: 0,
      options: [],
    },
  ];
  const query = parsed(encode({ type: 'query', id: 1, questions: [{ type: 'A', name: 'x' }], additionals }));
  assert.deepEqual([query.edns, query.size], [true, 1232]);
  assert.equal(decode(answer(query, 0, [], 512)).additionals?.[0]?.type, 'OPT');
});

test('names under arpa are read back into addresses', () => {
  assert.equal(reverseAddress('4.3.2.1.in-addr.arpa'), '1.2.3.4');
  assert.equal(reverseAddress(`${'1.'.padEnd(64, '0.')}ip6.arpa`), '::1');
  for (const name of [
    '3.2.1.in-addr.arpa',
    '256.3.2.1.in-addr.arpa',
    'a.in-addr.arpa',
    'example.com',
    'arpa',
    '',
  ])
    assert.equal(reverseAddress(name), undefined, name);
});

test('a pod sees the names of its own networks only', () => {
  const names = new Names();
  const endpoint = (
    networkId: string,
    address: string,
    dnsNames: string[],
    links: string[] = [],
  ): StoredEndpoint => ({
    endpointId: address,
    networkId,
    networkName: networkId,
    interfaceName: 'eth0',
    macAddress: '',
    ipv4: { address, prefixLength: 24, gateway: '' },
    aliases: [],
    dnsNames,
    driverOptions: {},
    hostLink: 'v',
    gwPriority: 0,
    links,
  });
  names.set('a', [endpoint('n1', '10.0.0.1', ['a', 'all'], ['b:database'])]);
  names.set('b', [endpoint('n1', '10.0.0.2', ['b', 'all']), endpoint('n2', '10.2.0.2', ['b'])]);
  names.set('c', [endpoint('n2', '10.2.0.3', ['c'])]);
  assert.deepEqual(names.lookup('a', 'B.')?.ipv4, ['10.0.0.2']);
  assert.deepEqual(names.lookup('a', 'b.n1')?.ipv4, ['10.0.0.2']);
  assert.deepEqual(names.lookup('a', 'database')?.ipv4, ['10.0.0.2']);
  assert.deepEqual(names.lookup('a', 'all')?.ipv4.toSorted(), ['10.0.0.1', '10.0.0.2']);
  assert.equal(names.lookup('a', 'c'), undefined);
  assert.equal(names.lookup('c', 'database'), undefined);
  assert.equal(
    names.reverse('a', '10.0.0.2', () => true),
    'b.n1',
  );
  assert.equal(
    names.reverse('a', '10.0.0.9', () => true),
    '',
  );
  assert.equal(
    names.reverse('a', '10.0.0.9', () => false),
    undefined,
  );
  names.delete('b');
  assert.equal(names.lookup('a', 'b'), undefined);
  // Several behind one name come in any order.
  names.set('b', [endpoint('n1', '10.0.0.2', ['all'])]);
  const firsts = new Set(Array.from({ length: 100 }, () => names.lookup('a', 'all')!.ipv4[0]));
  assert.equal(firsts.size, 2);
});

test('outside names are asked of the next server when one is silent, and by TCP when an answer was cut', async () => {
  const full = (packet: Buffer): Buffer =>
    answer(parsed(packet), 0, [{ type: 'A', data: '192.0.2.9' }], 4096);
  const udp = createSocket('udp4');
  await new Promise<void>((resolve) => udp.bind(0, '127.0.0.2', resolve));
  const { port } = udp.address();
  udp.on('message', (packet, client) => {
    // A forged answer to another question first, then the cut one.
    udp.send(full(question('evil.example', 'A', packet.readUInt16BE(0))), client.port, client.address);
    const cut = answer(parsed(packet), 0, [], 512);
    cut[2] = cut[2]! | 2;
    udp.send(cut, client.port, client.address);
  });
  const tcp = createServer((socket) =>
    socket.on('data', (data: Buffer) => socket.end(withLength(full(data.subarray(2))))),
  );
  await new Promise<void>((resolve) => tcp.listen(port, '127.0.0.2', resolve));
  assert.equal((tcp.address() as AddressInfo).port, port);
  const query = parsed(question('outside.example'));
  const { signal } = new AbortController();
  const reply = await askUpstream(
    query,
    ['127.0.0.3', '127.0.0.2'].map((address) => ({ address })),
    { tcp: false, port, signal },
  );
  assert.deepEqual(
    decode(reply!).answers?.map((record) => 'data' in record && record.data),
    ['192.0.2.9'],
  );
  assert.equal(await askUpstream(query, [{ address: '127.0.0.3' }], { tcp: true, port, signal }), undefined);
  udp.close();
  tcp.close();
});

test('only an answer to the very question counts', () => {
  const asked = question('a.example');
  assert.ok(isReplyTo(asked, answer(parsed(question('A.Example')), 0, [], 512)));
  assert.ok(!isReplyTo(asked, answer(parsed(question('b.example')), 0, [], 512)));
  assert.ok(!isReplyTo(asked, answer(parsed(question('a.example', 'MX')), 0, [], 512)));
  assert.ok(!isReplyTo(asked, asked));
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 100 }),
      (raw) => typeof isReplyTo(asked, Buffer.from(raw)) === 'boolean',
    ),
  );
});

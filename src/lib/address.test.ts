import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  contains,
  formatAddress,
  overlaps,
  parseAddress,
  parseSubnet,
  subnetOf,
  toBytes,
  toNumber,
} from './address.ts';

test('an address written and read again is the same, in the shortest form', () => {
  assert.equal(formatAddress(parseAddress('2001:DB8:0:0:1:0:0:1')!), '2001:db8::1:0:0:1');
  assert.equal(formatAddress(parseAddress('::ffff:1.2.3.4')!), '::ffff:102:304');
  assert.equal(formatAddress(parseAddress('::')!), '::');
  const sizes = fc.constantFrom(4, 16).chain((size) => fc.uint8Array({ minLength: size, maxLength: size }));
  fc.assert(
    fc.property(sizes, (raw) => {
      const text = formatAddress(Buffer.from(raw));
      assert.ok(raw.length === 4 ? isIPv4(text) : isIPv6(text), text);
      assert.deepEqual(parseAddress(text), Buffer.from(raw));
      assert.deepEqual(
        toBytes(toNumber(Buffer.from(raw)), raw.length === 4 ? 'ipv4' : 'ipv6'),
        Buffer.from(raw),
      );
    }),
  );
});

test('what the system takes for an address, and nothing else, is one here', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    'fe80::1%eth0',
    ':::',
    '1::2::3',
    ' 1.2.3.4',
  ])
    assert.equal(parseAddress(text), undefined, text);
  fc.assert(fc.property(fc.ipV6(), (text) => parseAddress(text)?.length === 16));
  fc.assert(
    fc.property(
      fc.string(),
      (text) =>
        (parseAddress(text) !== undefined) === (isIPv4(text) || (isIPv6(text) && !text.includes('%'))),
    ),
  );
});

test('subnets clear the bits beyond their prefix and know what they hold', () => {
  const subnet = parseSubnet('10.1.2.3/16')!;
  assert.equal(subnet.cidr, '10.1.0.0/16');
  assert.ok(contains(subnet, parseAddress('10.1.255.255')!));
  assert.ok(!contains(subnet, parseAddress('10.2.0.0')!));
  for (const text of ['10.0.0.0', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8x', 'fd00::/129'])
    assert.equal(parseSubnet(text), undefined, text);
});

test('two subnets overlap when they share an address', () => {
  const one = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }));
  fc.assert(
    fc.property(one, one, ([a, length], [b, other]) => {
      const left = subnetOf(parseAddress(a)!, length);
      const right = subnetOf(parseAddress(b)!, other);
      const shared =
        contains(left, toBytes(right.first, 'ipv4')) || contains(right, toBytes(left.first, 'ipv4'));
      assert.equal(overlaps(left, right), shared);
    }),
  );
});

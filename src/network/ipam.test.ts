import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAddress, parseSubnet } from '../lib/address.ts';
import { Addresses, chooseSubnet, chooseUniqueLocalSubnet, defaultAddressPools, parsePool } from './ipam.ts';

test('addresses go round: a freed one rests as long as others are free', () => {
  const addresses = new Addresses(parsePool({ subnet: '10.0.0.0/29' }));
  assert.equal(addresses.gateway, '10.0.0.1');
  const given = [1, 2, 3].map(() => addresses.allocate());
  assert.deepEqual(given, ['10.0.0.2', '10.0.0.3', '10.0.0.4']);
  addresses.release('10.0.0.2');
  assert.equal(addresses.allocate(), '10.0.0.5');
  assert.equal(addresses.allocate(), '10.0.0.6');
  assert.equal(addresses.allocate(), '10.0.0.2');
  assert.throws(() => addresses.allocate(), /no available addresses in subnet 10\.0\.0\.0\/29/);
});

test('the gateway, auxiliary addresses and the ends of a subnet are never given', () => {
  const pool = parsePool({
    subnet: '10.0.0.0/24',
    ipRange: '10.0.0.248/29',
    gateway: '10.0.0.250',
    auxiliaryAddresses: { printer: '10.0.0.251' },
  });
  const addresses = new Addresses(pool);
  const given = Array.from({ length: 5 }, () => addresses.allocate());
  assert.deepEqual(given, ['10.0.0.248', '10.0.0.249', '10.0.0.252', '10.0.0.253', '10.0.0.254']);
  assert.throws(() => addresses.take('10.0.0.251'), /Address already in use/);
  assert.throws(() => addresses.take('10.0.0.255'), /broadcast/);
  addresses.take('10.0.0.7');
});

test('no address is given twice', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -1, max: 5 }), { maxLength: 200 }), (steps) => {
      const addresses = new Addresses(parsePool({ subnet: '10.0.0.0/28' }));
      const held: string[] = [];
      for (const step of steps) {
        if (step >= 0 && step < held.length) addresses.release(held.splice(step, 1)[0]!);
        else if (held.length < 13) held.push(addresses.allocate());
        assert.equal(new Set(held).size, held.length);
      }
    }),
  );
});

test('an IPv6 subnet of any size is counted through without walking it', () => {
  const addresses = new Addresses(parsePool({ subnet: 'fd00:1::/64' }));
  assert.equal(addresses.allocate(), 'fd00:1::2');
  addresses.take('fd00:1::ffff:ffff:ffff:ffff');
  assert.ok(addresses.contains(parseAddress('fd00:1::9')!));
});

test('pools that make no sense are refused with the value that does not fit', () => {
  const refused: [Parameters<typeof parsePool>[0], RegExp][] = [
    [{ subnet: 'x' }, /invalid subnet "x"/],
    [{ subnet: '10.0.0.0/31' }, /too small/],
    [{ subnet: '10.0.0.0/7' }, /too large/],
    [{ subnet: '224.1.0.0/16' }, /multicast/],
    [{ subnet: 'fe80::/64' }, /link-local/],
    [{ subnet: '10.0.0.0/24', ipRange: '10.0.1.0/25' }, /10\.0\.1\.0\/25 is not in subnet/],
    [{ subnet: '10.0.0.0/24', gateway: 'fd00::1' }, /gateway fd00::1 is not in subnet/],
    [{ subnet: '10.0.0.0/24', auxiliaryAddresses: { a: '9.9.9.9' } }, /auxiliary address 9\.9\.9\.9/],
  ];
  for (const [config, message] of refused) assert.throws(() => parsePool(config), message);
});

test('a subnet is chosen that nothing on the host overlaps', () => {
  const taken = ['172.17.0.0/16', '172.18.4.0/24'].map((cidr) => parseSubnet(cidr)!);
  assert.equal(chooseSubnet(defaultAddressPools, taken).cidr, '172.19.0.0/16');
  assert.equal(
    chooseSubnet([{ base: '10.0.0.0/22', size: 24 }], [parseSubnet('10.0.0.0/23')!]).cidr,
    '10.0.2.0/24',
  );
  assert.throws(
    () => chooseSubnet([{ base: '10.0.0.0/24', size: 24 }], [parseSubnet('10.0.0.0/8')!]),
    /all predefined/,
  );
  assert.match(chooseUniqueLocalSubnet().cidr, /^fd[0-9a-f:]+::\/64$/);
});

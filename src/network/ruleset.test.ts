import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSubnet } from '../lib/address.ts';
import { PortTable } from './port-table.ts';
import { networkElements, publicationElement, rulesetScript } from './ruleset.ts';

test('a published port is one element, the same for the kernel and in text', () => {
  const element = publicationElement({
    protocol: 'tcp',
    hostIp: '127.0.0.1',
    hostPort: 8080,
    address: '172.17.0.2',
    port: 80,
  });
  assert.equal(element.set, 'ports4');
  assert.equal(element.text, 'tcp . 127.0.0.1 . 8080 : 172.17.0.2 . 80');
  assert.equal(element.key.toString('hex'), '060000007f0000011f900000');
  assert.equal(element.data!.toString('hex'), 'ac11000200500000');
  const any = publicationElement({
    protocol: 'udp',
    hostIp: '::',
    hostPort: 53,
    address: 'fd00::2',
    port: 53,
  });
  assert.equal(any.set, 'ports6_any');
  assert.equal(any.key.toString('hex'), '1100000000350000');
});

test('a network is in the sets its options say', () => {
  const subnets = [parseSubnet('10.0.0.0/24')!];
  const sets = (options: object): string[] =>
    networkElements({ bridge: 'br0', internal: false, icc: true, masquerade: true, subnets, ...options })
      .map(({ set }) => set)
      .toSorted();
  assert.deepEqual(sets({}), ['bridges', 'hairpin4', 'inside', 'outbound']);
  assert.deepEqual(sets({ internal: true }), ['bridges', 'hairpin4', 'inside', 'internal']);
  assert.deepEqual(sets({ icc: false, masquerade: false }), ['bridges', 'hairpin4']);
});

test('the script replaces the whole table in one go', () => {
  const elements = networkElements({
    bridge: 'br0',
    internal: false,
    icc: true,
    masquerade: true,
    subnets: [parseSubnet('10.0.0.0/24')!],
  });
  const script = rulesetScript('isle', elements);
  assert.match(script, /^table inet isle\ndelete table inet isle\ntable inet isle \{\n/);
  assert.match(
    script,
    /set hairpin4 \{\n\s+type ifname \. ipv4_addr; flags interval\n\s+elements = \{ "br0" \. 10\.0\.0\.0\/24 \}/,
  );
});

test('two pods cannot have one port, unless on different addresses', () => {
  const table = new PortTable();
  const binding = (hostIp: string, hostPort = 80, protocol: 'tcp' | 'udp' = 'tcp') => ({
    port: 1,
    protocol,
    hostIp,
    hostPort,
  });
  table.add('a', binding('127.0.0.1'));
  assert.equal(table.holder(binding('0.0.0.0')), 'a');
  assert.equal(table.holder(binding('127.0.0.1')), 'a');
  assert.equal(table.holder(binding('192.0.2.1')), undefined);
  assert.equal(table.holder(binding('::')), undefined);
  assert.equal(table.holder(binding('127.0.0.1', 80, 'udp')), undefined);
  table.remove('a', [binding('127.0.0.1')]);
  assert.equal(table.holder(binding('0.0.0.0')), undefined);
});

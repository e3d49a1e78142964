import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dockerPorts, formatPorts } from './ports.ts';
import { toPools } from './commands/network-create.ts';
import { formatAddress, parseAddress, resolveAddress } from './client/address.ts';
import { formatQuery } from './client/client.ts';
import { parseEnd } from './copy/ends.ts';
import { imagePath } from './image/path.ts';
import { splitReference, withTag } from './image/pull.ts';
import { registryOf } from './image/registry-auth.ts';
import { cpuPercent, memoryUsed } from './stats/sample.ts';
import { toTimestamp } from './time.ts';
import { ago, humanDuration } from './words.ts';

test('the engine is found by flag, ISLE_HOST, ISLE_SOCKET, ISLE_RUN_ROOT, and never by DOCKER_HOST', () => {
  const env = { DOCKER_HOST: 'unix:///var/run/docker.sock' };
  assert.deepEqual(resolveAddress(undefined, env), { socketPath: '/run/isle/docker.sock' });
  assert.deepEqual(resolveAddress(undefined, { ...env, ISLE_RUN_ROOT: '/r/' }), {
    socketPath: '/r/docker.sock',
  });
  assert.deepEqual(resolveAddress(undefined, { ISLE_RUN_ROOT: '/r', ISLE_SOCKET: '/s' }), {
    socketPath: '/s',
  });
  assert.deepEqual(resolveAddress('tcp://h:1', { ISLE_HOST: '/x' }), { host: 'h', port: 1 });
  assert.equal(formatAddress(parseAddress('tcp://[::1]:2375')), 'tcp://[::1]:2375');
  assert.throws(() => parseAddress('nonsense'), /invalid host "nonsense"/);
});

test('queries are encoded, absent values left out, lists repeated', () => {
  assert.equal(
    formatQuery({ a: 'x y&', b: undefined, c: true, d: ['1', '2'] }),
    '?a=x%20y%26&c=true&d=1&d=2',
  );
  assert.equal(formatQuery({ b: undefined }), '');
});

test('ports are shown short: both families as one, runs as ranges', () => {
  const on = (IP: string, PublicPort: number, PrivatePort: number) => ({
    IP,
    PublicPort,
    PrivatePort,
    Type: 'tcp',
  });
  assert.equal(formatPorts([on('0.0.0.0', 8080, 80), on('::', 8080, 80)]), '8080->80/tcp');
  assert.equal(formatPorts([on('127.0.0.1', 8080, 80)]), '127.0.0.1:8080->80/tcp');
  assert.equal(formatPorts([on('::1', 1, 80)]), '[::1]:1->80/tcp');
  assert.equal(formatPorts([on('0.0.0.0', 9000, 80), on('0.0.0.0', 9001, 81)]), '9000-9001->80-81/tcp');
  assert.equal(
    formatPorts([
      { PrivatePort: 80, Type: 'tcp' },
      { PrivatePort: 81, Type: 'tcp' },
    ]),
    '80-81/tcp',
  );
});

test('for scripts, ports are written as docker writes them', () => {
  const on = (IP: string, PublicPort: number, PrivatePort: number) => ({
    IP,
    PublicPort,
    PrivatePort,
    Type: 'tcp',
  });
  const ports = [
    on('0.0.0.0', 8080, 80),
    on('::', 8080, 80),
    ...[9000, 9001, 9002].map((port) => on('127.0.0.1', port, port)),
    { PrivatePort: 53, Type: 'udp' },
  ];
  assert.equal(
    dockerPorts(ports),
    '53/udp, 127.0.0.1:9000-9002->9000-9002/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp',
  );
});

test('image names fall apart where they should', () => {
  assert.deepEqual(splitReference('localhost:5000/a/b'), { name: 'localhost:5000/a/b', tag: undefined });
  assert.deepEqual(splitReference('localhost:5000/a:1'), { name: 'localhost:5000/a', tag: '1' });
  assert.deepEqual(splitReference('a:1@sha256:x'), { name: 'a', tag: 'sha256:x' });
  assert.equal(withTag('a'), 'a:latest');
  assert.equal(withTag('a@sha256:x'), 'a@sha256:x');
  assert.equal(imagePath('h:1/a b?/c@sha256:x'), '/images/h:1/a%20b%3F/c@sha256:x');
  for (const [name, registry] of [
    ['busybox', 'docker.io'],
    ['library/busybox', 'docker.io'],
    ['index.docker.io/a', 'docker.io'],
    ['localhost/a', 'localhost'],
    ['h:5000/a', 'h:5000'],
    ['quay.io/a/b', 'quay.io'],
  ] as const)
    assert.equal(registryOf(name), registry);
});

test('paths of containers are told from paths here', () => {
  assert.deepEqual(parseEnd('web:/etc'), { container: 'web', path: '/etc' });
  assert.deepEqual(parseEnd('./a:b'), { path: './a:b' });
  assert.deepEqual(parseEnd('/a:b'), { path: '/a:b' });
  assert.deepEqual(parseEnd('file'), { path: 'file' });
  assert.deepEqual(parseEnd('-'), { path: '-' });
});

test('times: seconds, dates, and how long ago', () => {
  assert.equal(toTimestamp('1700000000.5'), '1700000000.5');
  assert.equal(toTimestamp('2026-01-02T03:04:05.123456789Z'), '1767323045.123456789');
  assert.equal(toTimestamp('2026-01-02T03:04:05+01:00'), '1767319445.000000000');
  assert.equal(toTimestamp('90s', 1_000_000), '910.000000000');
  assert.throws(() => toTimestamp('yesterday'), /invalid time "yesterday"/);
});

test('ages are said as docker says them', () => {
  assert.equal(humanDuration(0.5), 'Less than a second');
  assert.equal(humanDuration(75), 'About a minute');
  assert.equal(humanDuration(3 * 3600), '3 hours');
  assert.equal(humanDuration(9 * 24 * 3600), '9 days');
  assert.equal(ago(0, 120_000), '2 minutes ago');
});

test('percent of CPU and memory without the cache', () => {
  const stats = {
    read: '',
    cpu_stats: { cpu_usage: { total_usage: 300 }, system_cpu_usage: 2000, online_cpus: 2 },
    precpu_stats: { cpu_usage: { total_usage: 100 }, system_cpu_usage: 1000 },
    memory_stats: { usage: 100, limit: 1000, stats: { inactive_file: 40 } },
  };
  assert.equal(cpuPercent(stats), 40);
  assert.equal(memoryUsed(stats), 60);
});

test('ranges, gateways and kept addresses find their subnet', () => {
  const pools = toPools({
    subnet: ['10.1.0.0/16', 'fd00::/64'],
    'ip-range': ['10.1.5.0/24'],
    gateway: ['10.1.0.254', 'fd00::1'],
    'aux-address': ['router=10.1.0.7'],
  });
  assert.deepEqual(pools, [
    {
      Subnet: '10.1.0.0/16',
      IPRange: '10.1.5.0/24',
      Gateway: '10.1.0.254',
      AuxiliaryAddresses: { router: '10.1.0.7' },
    },
    { Subnet: 'fd00::/64', Gateway: 'fd00::1' },
  ]);
  assert.throws(
    () => toPools({ subnet: ['10.1.0.0/16'], 'ip-range': [], gateway: ['10.2.0.1'], 'aux-address': [] }),
    /no matching subnet/,
  );
});

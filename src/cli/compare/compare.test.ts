import assert from 'node:assert/strict';
import { test } from 'node:test';
import { comparison, isolation } from '../../../test/fixtures/comparison.ts';
import { adviseOn } from './advice.ts';
import { capabilityNames } from './capabilities.ts';
import { parseIsolations } from './isolations.ts';
import { roleLabel, runLabel } from './labels.ts';
import { staleContainers } from './leftovers.ts';
import { formatSpread, formatValue } from './metrics.ts';
import { isInit } from './plan.ts';
import type { IsolationReport, Trust, Workload } from './report.ts';
import { summarize } from './samples.ts';
import { parseFacts, sharingOf } from './sharing.ts';

test('samples become a median and their ends', () => {
  const three = summarize('ms', [3, 1, 20]);
  assert.deepEqual(three, { unit: 'ms', median: 3, low: 1, high: 20, samples: [3, 1, 20] });
  assert.equal(summarize('ms', [4, 1])?.median, 2.5);
  assert.equal(summarize('ms', []), undefined);
});

test('values are short and carry their unit', () => {
  const cases: [number, Parameters<typeof formatValue>[1], string][] = [
    [61.23, 'ms', '61.2 ms'],
    [0.1234, 'ms', '123 µs'],
    [999.9, 'ms', '1 s'],
    [2134, 'ms', '2.13 s'],
    [178.4, 'ns', '178 ns'],
    [0.5, 'ns', '0.5 ns'],
    [2_400_000, 'B', '2.4 MB'],
    [0, 'B', '0 B'],
    [1.26e9, 'B/s', '1.26 GB/s'],
    [41_345, '1/s', '41.3k/s'],
    [8946.2, '1/s', '8946/s'],
    [3.2e6, '1/s', '3.2M/s'],
  ];
  for (const [value, unit, expected] of cases) assert.equal(formatValue(value, unit), expected);
  assert.equal(formatSpread(summarize('ms', [50, 61, 66])!), '50–66');
  assert.equal(formatSpread(summarize('ms', [500, 900, 1600])!), '500 ms–1.6 s');
  assert.equal(formatSpread(summarize('1/s', [900, 950, 13_000])!), '900/s–13k/s');
  assert.equal(formatSpread(summarize('B/s', [327e6, 1.3e9, 1.46e9])!), '327 MB/s–1.46 GB/s');
  assert.equal(formatSpread(summarize('ms', [500])!), '');
});

test('isolations are chosen by name, and kept in their order', () => {
  assert.deepEqual(parseIsolations('microvm, container'), ['container', 'microvm']);
  assert.throws(() => parseIsolations('container,vm'), /"vm" is no isolation: choose from container, userns/);
});

test('an init is known by its name', () => {
  for (const name of ['/sbin/init', 'init', '/lib/systemd/systemd']) assert.equal(isInit(name), true, name);
  for (const name of ['tini', '/usr/bin/dumb-init', 'nginx', undefined])
    assert.equal(isInit(name), false, String(name));
});

test('leftovers are those whose client is gone, as their peer has ended', () => {
  const now = 1_000_000;
  const row = (Id: string, run: string, role: string, State: string, age: number, name?: string) => ({
    Id,
    Names: [name ?? `/compare-${run}-${role}-0`],
    State,
    Created: now / 1000 - age,
    Labels: { [runLabel]: run, [roleLabel]: role },
  });
  const rows = [
    row('running peer', '0000000a', 'peer', 'running', 900),
    row('running', '0000000a', 'microvm', 'running', 900),
    row('killed peer', '0000000b', 'peer', 'exited', 3),
    row('killed', '0000000b', 'container', 'running', 2),
    row('beginning', '0000000c', 'peer', 'created', 2),
    row('killed at the beginning', '0000000d', 'peer', 'created', 100),
    row('without peer', '0000000e', 'container', 'exited', 100),
    row('of an image with our labels', '0000000f', 'container', 'running', 100, '/web'),
    row('of another kind', 'x', 'container', 'running', 100),
  ];
  assert.deepEqual(staleContainers(rows, now), [
    'killed peer',
    'killed',
    'killed at the beginning',
    'without peer',
  ]);
});

const facts = JSON.stringify({
  kernel: '6.1.0',
  bootId: 'boot',
  lsm: 'docker-default (enforce)',
  capabilities: '00000000a80425fb',
  seccomp: '2',
  noNewPrivileges: '1',
  uidMap: [[0, 100000, 65536]],
  namespaces: { net: 5, time: 7 },
  devices: ['zero', 'null'],
  calls: { bpf: 1, mount: 38, ptrace: 3, unshare: 0, keyctl: -1 },
});
const host = {
  Kernel: '6.1.0',
  BootId: 'boot',
  Namespaces: { net: 4, time: 7 },
  SecurityModules: [],
  Cpu: '',
  Kvm: { Usable: false },
  Load: 0,
};
const footprint = {
  processes: [
    { uid: 0, memory: 1, monitor: true },
    { uid: 100000, memory: 1, monitor: false },
  ],
  memory: 2,
  swapped: 0,
  guestMemory: 0,
  ownKernel: false,
  prepared: [],
};

test('what is shared follows from what both sides see', () => {
  const sharing = sharingOf(parseFacts(facts), host, footprint);
  assert.equal(sharing.sharesKernel, true);
  assert.equal(sharing.rootIs, 100000);
  assert.deepEqual(sharing.hostUsers, [100000]);
  assert.deepEqual(sharing.sharedNamespaces, ['time']);
  assert.deepEqual(sharing.reachableCalls, ['ptrace', 'unshare']);
  assert.equal(sharing.capabilities.length, 14);
  assert.equal(sharing.securityModule, 'docker-default (enforce)');
  const guest = sharingOf(parseFacts(facts.replace('"boot"', '"another"')), host, footprint);
  assert.equal(guest.sharesKernel, false, 'the same version is not the same kernel');
  assert.equal(guest.rootIs, undefined);
  assert.deepEqual(guest.sharedNamespaces, []);
});

test('facts that are none are refused: who wrote them may be hostile', () => {
  for (const wrong of [
    '',
    '{}',
    'null',
    facts.replace('"2"', '2'),
    facts.replace('38', '"38"'),
    facts.replace('a804', 'zz'),
  ])
    assert.throws(() => parseFacts(wrong), /facts from inside cannot be read/, wrong);
  assert.deepEqual(capabilityNames(0n), []);
  assert.deepEqual(capabilityNames(1n | (1n << 21n) | (1n << 60n)), ['chown', 'sys_admin', 'cap_60']);
});

const service: Workload = {
  kind: 'service',
  user: '',
  root: true,
  ports: [80],
  healthcheck: false,
  isInit: false,
};
const failed = (name: IsolationReport['isolation']): IsolationReport => ({
  isolation: name,
  state: 'unavailable',
  reason: 'not here',
  notes: [],
  times: {},
  probes: {},
});

test('the advice follows trust, workload and what worked, and gives the measured reasons', () => {
  const { isolations: all } = comparison();
  const advise = (trust: Trust, workload = service, reports = all) =>
    adviseOn(reports, workload, trust, false);
  assert.equal(advise('own').isolation, 'container');
  assert.equal(advise('third-party').isolation, 'userns');
  assert.equal(advise('hostile').isolation, 'microvm');
  const boots = [
    ...all.filter(({ isolation: name }) => name !== 'system'),
    isolation('system', 300, 20e6, 100_000),
  ];
  assert.equal(advise('own', { ...service, isInit: true }, boots).isolation, 'system');

  const { reasons } = advise('third-party');
  const text = reasons.join('\n');
  assert.match(text, /root inside is user 100000 here/);
  assert.match(text, /Compared with a plain container: nothing that stands out from the noise/);
  assert.match(text, /listens on port 80/);
  assert.match(
    text,
    /A microVM would not share the kernel, and costs: first sign of life after 2 s instead of 50 ms/,
  );
  assert.match(text, /ran without KVM/);
  assert.match(text, /; 1 % of its network throughput/);

  const quicker = all.map((report) => {
    const { netReceive } = report.probes;
    if (report.isolation !== 'microvm' || !netReceive) return report;
    return { ...report, probes: { ...report.probes, netReceive: { ...netReceive, median: 195e6 } } };
  });
  const rounded = advise('third-party', service, quicker).reasons.join('\n');
  assert.match(rounded, /; 10 % of its network throughput/);
});

test('hostile code gets no advice to share a kernel, whatever else works', () => {
  const { isolations: all } = comparison();
  const reports = all.map((report) => (report.isolation === 'microvm' ? failed('microvm') : report));
  const advice = adviseOn(reports, service, 'hostile', false);
  assert.equal(advice.isolation, 'none');
  assert.match(advice.reasons.join('\n'), /A microVM did not work: not here/);
});

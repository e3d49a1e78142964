import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IsolationReport, Report } from '../../src/cli/compare/report.ts';
import { isle, outcomeOf, spawnIsle } from '../fixtures/command-line.ts';
import { dockerArchive, startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { distribution } from '../fixtures/distributions.ts';
import { buildImage, busyboxImage } from '../fixtures/image-builder.ts';

const program = join(import.meta.dirname, '../../build/isle-probe');
/** Seconds that are plenty, so that a hung comparison fails instead of the whole suite. */
const timeout = { timeout: 180_000 };

describe('isle compare', { concurrency: false }, () => {
  let daemon: TestDaemon;
  let folder: string;
  before(async () => {
    daemon = await startDaemon();
    folder = mkdtempSync(join(tmpdir(), 'isle-compare-'));
  });
  after(async () => {
    rmSync(folder, { recursive: true, force: true });
    await daemon?.close();
  });

  const load = async (name: string, image: Parameters<typeof dockerArchive>[0]) =>
    await daemon.ok('POST', '/images/load?quiet=1', dockerArchive(image, name));
  const compare = (...args: string[]) => isle(daemon.host, ['compare', '--quick', ...args]);
  const report = async (...args: string[]): Promise<Report> => {
    const outcome = await compare('--isolations', 'container,userns', '--format', 'json', ...args);
    assert.equal(outcome.code, 0, outcome.stderr + outcome.stdout);
    return JSON.parse(outcome.stdout) as Report;
  };
  const left = async () =>
    (await daemon.ok('GET', '/containers/json?all=1'))
      .json<{ Names: string[]; State: string }[]>()
      .map(({ Names, State }) => `${Names[0]} ${State}`);
  const of = ({ isolations }: Report, name: IsolationReport['isolation']): IsolationReport =>
    isolations.find(({ isolation }) => isolation === name)!;

  test('a command that ends by itself: times, memory, probes and what is shared', timeout, async () => {
    const found = await report('busybox', '--', 'echo', 'hello');
    assert.equal(found.schema, 'isle-compare/1');
    assert.deepEqual(found.command, ['echo', 'hello']);
    assert.equal(found.workload.kind, 'one-shot');
    for (const one of found.isolations) {
      assert.equal(one.state, 'measured', JSON.stringify(one));
      assert.deepEqual(one.notes, []);
      assert.equal(one.times.firstOutput?.samples.length, 3);
      assert.equal(one.times.ended?.samples.length, 3);
      assert.equal(one.times.stop, undefined);
      assert.equal(one.memory?.of, 'placeholder');
      assert.ok(one.memory.total.median > 100_000 && one.memory.total.median < 50e6);
      assert.ok(one.memory.monitors > 50_000, 'conmon counts');
      const probes = Object.keys(one.probes).toSorted();
      assert.deepEqual(probes, [
        'cpu',
        'fileRead',
        'fileWrite',
        'fork',
        'netReceive',
        'netRoundTrips',
        'netSend',
        'smallFiles',
        'systemCall',
      ]);
      for (const { median } of Object.values(one.probes)) assert.ok(median > 0);
      assert.equal(one.sharing?.sharesKernel, true);
      assert.equal(one.sharing.seccomp, 'filter');
      assert.ok(!one.sharing.reachableCalls.includes('init_module'));
    }
    assert.equal(of(found, 'container').sharing?.rootIs, 0);
    assert.ok((of(found, 'userns').sharing?.rootIs ?? 0) > 65_535);
    assert.ok(!of(found, 'userns').sharing?.sharedNamespaces.includes('user'));
    assert.equal(found.advice.isolation, 'userns');
    assert.deepEqual(await left(), []);
  });

  test('a server that prints nothing is timed by its port, and stopped', timeout, async () => {
    await load(
      'web:latest',
      busyboxImage(undefined, {
        compression: 'none',
        config: { Cmd: ['httpd', '-f', '-p', '80'], ExposedPorts: { '80/tcp': {} } },
      }),
    );
    const found = await report('web');
    assert.equal(found.workload.kind, 'service');
    assert.deepEqual(found.workload.ports, [80]);
    for (const one of found.isolations) {
      assert.equal(one.state, 'measured', JSON.stringify(one));
      assert.equal(one.times.firstOutput, undefined);
      assert.equal(one.times.listening?.samples.length, 3);
      assert.equal(one.times.ignoresStop, true, 'the first process has no handler for SIGTERM');
      assert.equal(one.memory?.of, 'workload');
    }
  });

  test('an image with a health check says when it is healthy', timeout, async () => {
    await load(
      'checked:latest',
      busyboxImage(undefined, {
        compression: 'none',
        config: {
          Cmd: ['sh', '-c', 'trap exit TERM; echo up; sleep 0.2; touch /tmp/ok; while :; do sleep 0.1; done'],
          Healthcheck: { Test: ['CMD', 'test', '-e', '/tmp/ok'], Interval: 60e9 },
        },
      }),
    );
    const found = await report('checked');
    const { times } = of(found, 'container');
    assert.ok((times.healthy ?? 0) >= 200, JSON.stringify(times));
    assert.ok((times.healthy ?? Infinity) > (times.firstOutput?.median ?? 0));
    assert.equal(times.ignoresStop, undefined);
    assert.ok(times.stop);
  });

  test('an image with nothing but a program, whose user is not root', timeout, async () => {
    const layer = { probe: { content: readFileSync(program), mode: 0o755 } };
    const config = { Entrypoint: ['/probe'], Cmd: ['facts'], User: '1000:1000' };
    await load('bare:latest', buildImage({ layers: [layer], compression: 'none', config }));
    const found = await report('bare');
    assert.equal(found.workload.root, false);
    for (const one of found.isolations) {
      assert.equal(one.state, 'measured', JSON.stringify(one));
      assert.deepEqual(one.notes, []);
      assert.deepEqual(one.sharing?.capabilities, [], 'as its own user');
      assert.ok(one.probes.smallFiles, 'probed as root all the same');
    }
  });

  test(
    'what fails everywhere is told, what is not there has its reason, and the rest is shown',
    timeout,
    async () => {
      const outcome = await compare(
        '--isolations',
        'container,system',
        'busybox',
        '--',
        'sh',
        '-c',
        'echo no >&2; exit 3',
      );
      assert.match(outcome.stdout, /^container: the workload ended with exit code 3: no$/m);
      assert.match(outcome.stdout, /^system container: not available: .*no init/m);
      assert.match(outcome.stdout, /^Advice: run it as a container/m);
      const missing = await compare('--isolations', 'container', 'busybox', '--', 'no-such-program');
      assert.match(missing.stdout, /container: failed: .*executable file not found/);
      assert.notEqual(missing.code, 0);
      assert.deepEqual(await left(), []);
    },
  );

  test('a workload that gives no sign of life is not waited for again and again', timeout, async () => {
    const found = await report('--timeout', '2s', 'busybox', '--', 'sleep', '1000');
    for (const one of found.isolations) {
      assert.equal(one.state, 'measured');
      assert.match(one.notes.join(), /neither printed anything nor opened a port/);
      assert.equal(one.times.firstOutput, undefined);
      assert.equal(one.times.started?.samples.length, 3);
    }
  });

  test('without a network the network is not probed', timeout, async () => {
    const found = await report('--isolations', 'container', '--network', 'none', 'busybox', '--', 'true');
    assert.deepEqual(of(found, 'container').notes, []);
    assert.equal(of(found, 'container').probes.netSend, undefined);
    assert.ok(of(found, 'container').probes.cpu);
  });

  test('a microVM has its own kernel, and its memory is told apart', timeout, async () => {
    const found = await report(
      '--isolations',
      'container,microvm',
      '--runs',
      '1',
      'busybox',
      '--',
      'echo',
      'hello',
    );
    const vm = of(found, 'microvm');
    assert.equal(vm.state, 'measured', JSON.stringify(vm));
    assert.equal(vm.sharing?.sharesKernel, false);
    assert.deepEqual(vm.sharing.sharedNamespaces, []);
    assert.ok(!vm.sharing.hostUsers.includes(0), 'what runs it is nobody here');
    assert.ok((vm.memory?.guest ?? 0) > 10e6, JSON.stringify(vm.memory));
    assert.ok((vm.memory?.monitors ?? 0) > 5e6);
    assert.ok((vm.disk?.prepared.length ?? 0) > 0);
    assert.equal(Object.keys(vm.probes).length, 9, JSON.stringify(vm));
    assert.equal(
      vm.notes.some((note) => note.includes('TCG')),
      !found.host.kvm.usable,
    );
    assert.deepEqual(await left(), []);
  });

  test('a distribution boots in a system container only', timeout, async () => {
    await load('systemd:latest', distribution('systemd', {}));
    const outcome = await compare(
      '--isolations',
      'container,system',
      '--runs',
      '1',
      '--format',
      'json',
      'systemd',
    );
    assert.equal(outcome.code, 0, outcome.stderr + outcome.stdout);
    const found = JSON.parse(outcome.stdout) as Report;
    const system = of(found, 'system');
    assert.equal(system.state, 'measured', JSON.stringify(system));
    assert.ok((system.times.booted?.median ?? 0) > 0);
    assert.ok(system.times.stop);
    assert.equal(found.workload.isInit, true);
    assert.equal(found.advice.isolation, 'system');
    assert.notEqual(of(found, 'container').state, 'measured');
  });

  test('the chart goes to its file, and volumes are taken as they are', timeout, async () => {
    const file = join(folder, 'chart.svg');
    const outcome = await compare(
      '--isolations',
      'container',
      '--chart',
      file,
      'busybox',
      '--',
      'echo',
      '<&>',
    );
    assert.equal(outcome.code, 0, outcome.stderr + outcome.stdout);
    assert.match(readFileSync(file, 'utf8'), /^<svg [^]*echo &lt;&amp;&gt;[^]*<\/svg>\n$/);
  });

  test('a wrong call is told before anything runs', timeout, async () => {
    const cases: [string[], RegExp][] = [
      [['--isolations', 'vm', 'busybox'], /"vm" is no isolation: choose from container, userns/],
      [['--trust', 'nobody', 'busybox'], /must be one of "own", "third-party", "hostile"/],
      [['--pull', 'never', 'not-here'], /No such image/i],
      [['--chart', join(folder, 'no/such/folder/x.svg'), 'busybox'], /cannot write/],
      [['--runs', '0', 'busybox'], /out of range/],
    ];
    for (const [args, message] of cases) {
      const outcome = await isle(daemon.host, ['compare', ...args]);
      assert.match(outcome.stderr, message);
      assert.equal(outcome.code, 125, args.join(' '));
    }
  });

  test('Ctrl-C in the middle leaves nothing', timeout, async () => {
    const child = spawnIsle(daemon.host, ['compare', 'busybox', '--', 'sleep', '1000']);
    const ended = outcomeOf(child);
    await until(async () => (await left()).some((line) => /-container-\d+ running/.test(line)));
    child.kill('SIGINT');
    const { code, stderr } = await ended;
    assert.equal(code, 130);
    assert.match(stderr, /interrupted; everything that the comparison made is removed/);
    assert.deepEqual(await left(), []);
  });

  test('what a killed one left is removed by the next, or by system prune', timeout, async () => {
    const kill = async () => {
      const child = spawnIsle(daemon.host, ['compare', '-v', 'data:/data', 'busybox', '--', 'sleep', '1000']);
      const ended = outcomeOf(child);
      await until(async () => (await left()).some((line) => /-container-\d+ running/.test(line)));
      child.kill('SIGKILL');
      await ended;
      await until(async () => (await left()).some((line) => /-peer-\d+ exited/.test(line)));
      assert.ok((await left()).length >= 2);
    };
    await kill();
    await isle(daemon.host, ['system', 'prune', '-f']);
    assert.deepEqual(await left(), []);
    await kill();
    await report('busybox', '--', 'true');
    assert.deepEqual(await left(), []);
    assert.ok(!(await daemon.ok('GET', '/volumes')).text.includes('"data"'));
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 60_000; performance.now() < end; await sleep(50))
    if (await holds()) return;
  assert.fail('it never came to that');
}

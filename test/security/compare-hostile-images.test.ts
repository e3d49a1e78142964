import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { Report } from '../../src/cli/compare/report.ts';
import { isle, Terminal } from '../fixtures/command-line.ts';
import { dockerArchive, startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { busyboxImage, type LayerFiles } from '../fixtures/image-builder.ts';

const timeout = { timeout: 120_000 };

/** An image is anybody's: what lies in it must neither mislead the comparison nor reach through it. */
describe('isle compare on hostile images', { concurrency: false }, () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon();
  });
  after(async () => await daemon?.close());

  const load = async (name: string, files: LayerFiles, config: Record<string, unknown> = {}) => {
    const image = busyboxImage(files, { compression: 'none', config: { Cmd: ['echo', 'hello'], ...config } });
    await daemon.ok('POST', '/images/load?quiet=1', dockerArchive(image, `${name}:latest`));
  };
  const quick = ['compare', '--quick', '--runs', '1', '--network-probe=false', '--isolations', 'userns'];

  test('what lies at the place of the probe is replaced, not followed and not run', timeout, async () => {
    const before = readFileSync('/etc/passwd', 'utf8');
    const places: Record<string, LayerFiles> = {
      program: { '.isle-probe': { content: '#!/bin/sh\necho "{}"\n', mode: 0o755 } },
      link: { '.isle-probe': { type: 'symlink', target: '/etc/passwd' } },
      outside: { '.isle-probe': { type: 'symlink', target: '../../../../../../tmp/isle-compare-escaped' } },
      directory: { '.isle-probe/': { type: 'directory' }, '.isle-probe/x': 'x' },
    };
    for (const [name, files] of Object.entries(places)) {
      await load(name, files);
      const { stdout, stderr } = await isle(daemon.host, [...quick, '--format', 'json', name]);
      const report = JSON.parse(stdout || assert.fail(`${name}: ${stderr}`)) as Report;
      for (const one of report.isolations) {
        assert.equal(one.state, 'measured', `${name}: ${JSON.stringify(one)}`);
        assert.deepEqual(one.notes, []);
        assert.ok((one.probes.cpu?.median ?? 0) > 1000);
      }
    }
    assert.equal(readFileSync('/etc/passwd', 'utf8'), before);
    assert.ok(!existsSync('/tmp/isle-compare-escaped'));
  });

  test('what it prints does not reach the terminal as it is', timeout, async () => {
    const command = `printf '\\033]0;owned\\007\\033[2J<&>'; exit 3`;
    await load('printer', {}, { Cmd: ['sh', '-c', command] });
    await using terminal = new Terminal(daemon.host, [...quick, 'printer']);
    assert.equal(await terminal.code(100_000), 0);
    assert.match(terminal.shown, /exit code 3/);
    assert.doesNotMatch(terminal.shown, /\x1b\]|\x07|\x1b\[2J/); // oxlint-disable-line no-control-regex
  });

  test('a flood of output is not kept', timeout, async () => {
    await load('flood', {}, { Cmd: ['sh', '-c', 'head -c 50000000 /dev/zero; sleep 0.1'] });
    const { code, stdout, stderr } = await isle(daemon.host, [...quick, '--format', 'json', 'flood']);
    assert.equal(code, 0, stderr);
    assert.ok(stdout.length < 200_000);
  });

  test('labels of an image do not make its containers leftovers of a comparison', timeout, async () => {
    await load('labelled', {}, { Labels: { 'isle.compare': 'feedbeef', 'isle.compare.role': 'container' } });
    await daemon.ok('POST', '/containers/create?name=bystander', {
      Image: 'labelled',
      Cmd: ['sleep', '1000'],
    });
    await daemon.ok('POST', '/containers/bystander/start');
    const { code, stderr } = await isle(daemon.host, [...quick, 'labelled']);
    assert.equal(code, 0, stderr);
    const rows = (await daemon.ok('GET', '/containers/json?all=1')).json<{ Names: string[] }[]>();
    assert.deepEqual(
      rows.map(({ Names }) => Names[0]),
      ['/bystander'],
    );
  });
});

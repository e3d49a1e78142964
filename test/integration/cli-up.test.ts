import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { isle as call } from '../fixtures/command-line.ts';
import { busyboxArchive } from '../fixtures/daemon.ts';
import { leftoversOf } from '../fixtures/leftovers.ts';
import { newInstance } from '../fixtures/sweep.ts';

describe('isle up and isle down', () => {
  let root: string;
  let place: { dataRoot: string; runRoot: string; instance: string };
  let env: Record<string, string>;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'isle-cli-up-'));
    place = {
      dataRoot: join(root, 'data'),
      runRoot: join(root, 'run'),
      instance: newInstance('u'),
    };
    env = {
      ISLE_HOST: '',
      ISLE_DATA_ROOT: place.dataRoot,
      ISLE_RUN_ROOT: place.runRoot,
      ISLE_INSTANCE: place.instance,
      DOCKER_CONFIG: join(root, 'docker'),
    };
  });
  afterEach(async () => {
    await call('', ['down', '--purge', '--force'], { env });
    const left = await leftoversOf({ root, ...place });
    rmSync(root, { recursive: true, force: true });
    assert.deepEqual(left, []);
  });
  const isle = (...args: string[]) => call('', args, { env });
  const ok = async (...args: string[]) => {
    const outcome = await isle(...args);
    assert.equal(outcome.code, 0, `isle ${args.join(' ')}: ${outcome.stderr}`);
    return outcome.stdout.trimEnd();
  };

  test('up starts it, says how to use it and makes a Docker context; a second up says that it runs', async () => {
    const first = await ok('up');
    assert.match(first, /^The engine is up/);
    assert.match(first, new RegExp(`DOCKER_HOST=unix://${place.runRoot}/docker.sock`));
    assert.match(first, new RegExp(`docker context use isle-${place.instance}`));
    const name = `isle-${place.instance}`;
    const id = createHash('sha256').update(name).digest('hex');
    const meta = JSON.parse(
      readFileSync(join(root, `docker/contexts/meta/${id}/meta.json`), 'utf8'),
    ) as unknown;
    assert.deepEqual(meta, {
      Name: name,
      Metadata: { Description: 'Isle' },
      Endpoints: { docker: { Host: `unix://${place.runRoot}/docker.sock`, SkipTLSVerify: false } },
    });
    assert.match(await ok('up'), /^The engine already runs \(pid \d+\)/);
    assert.equal(await ok('up', '--quiet'), '');
    assert.match(await ok('version'), /Engine/);
    assert.equal(statSync(place.dataRoot).mode & 0o777, 0o700);
    assert.equal(await ok('down'), 'The engine is down.');
    assert.equal(await ok('down'), 'The engine does not run.');
    const { code, stderr } = await isle('ps');
    assert.equal(code, 1);
    assert.match(stderr, /start it: isle up/);
    await ok('up', '-q');
  });

  test('down leaves containers running, a new up finds them; --stop-workloads stops them first', async () => {
    await ok('up', '-q');
    await call('', ['load', '-q'], { env, input: busyboxArchive() });
    const script = 'trap "exit 0" TERM; while :; do sleep 0.1; done';
    await ok('run', '-d', '--name', 'steady', 'busybox', 'sh', '-c', script);
    const pid = await ok('inspect', '-f', '{{.State.Pid}}', 'steady');
    assert.match(await ok('down'), /1 container runs on: steady/);
    assert.ok(existsSync(`/proc/${pid}`));
    await ok('up', '-q');
    assert.equal(await ok('inspect', '-f', '{{.State.Pid}} {{.State.Status}}', 'steady'), `${pid} running`);
    await ok('update', '--restart', 'no', 'steady');
    await ok('kill', 'steady');
    await ok('start', 'steady');
    assert.doesNotMatch(await ok('down', '--stop-workloads'), /runs on/);
    await ok('up', '-q');
    assert.equal(await ok('inspect', '-f', '{{.State.Status}}', 'steady'), 'exited');
  });

  test('two at the same moment start one engine', async () => {
    const both = await Promise.all([isle('up', '-q'), isle('up', '-q')]);
    assert.deepEqual(
      both.map(({ code }) => code),
      [0, 0],
      both.map(({ stderr }) => stderr).join(''),
    );
  });

  test('a stale pid file, even with the pid of a living process, means nothing', async () => {
    mkdirSync(place.runRoot, { recursive: true });
    mkdirSync(place.dataRoot, { recursive: true });
    for (const folder of [place.runRoot, place.dataRoot])
      writeFileSync(join(folder, 'daemon.pid'), `${process.pid}\n`);
    assert.equal(await ok('down'), 'The engine does not run.');
    assert.match(await ok('up'), /^The engine is up/);
  });

  test('a start that fails says why', async () => {
    const config = join(root, 'config.yaml');
    writeFileSync(config, 'logLevle: debug\n');
    const { code, stderr } = await isle('up', '--config', config);
    assert.equal(code, 1);
    assert.match(stderr, /^isle: the engine did not start \(exit code 2\): .*logLevle/);
    assert.doesNotMatch(stderr, /\bat .*:\d+:\d+/, 'no stack');
    await ok('up', '-q');
  });

  test('purge takes everything away: containers, networks, volumes, images, both roots', async () => {
    await ok('up', '-q');
    await call('', ['load', '-q'], { env, input: busyboxArchive() });
    await ok('network', 'create', 'extra');
    await ok('volume', 'create', 'kept');
    await ok(
      'run',
      '-d',
      '--network',
      'extra',
      '-v',
      'kept:/k',
      '--restart',
      'always',
      'busybox',
      'sleep',
      '1000',
    );
    const refused = await isle('down', '--purge');
    assert.equal(refused.code, 1, 'without an answer nothing is removed');
    assert.match(await ok('ps', '-q'), /./);
    assert.match(await ok('down', '--purge', '--force'), /Everything is removed/);
    assert.ok(!existsSync(place.dataRoot));
    assert.ok(!existsSync(place.runRoot));
    assert.deepEqual(await leftoversOf({ root, ...place }), []);
    await ok('up', '-q');
  });
});

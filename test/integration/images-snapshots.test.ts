import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isle as call } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';

interface Inspect {
  Id: string;
  State: { Status: string; StartedAt: string };
  Config: { Hostname: string; Env: string[] };
  HostConfig: { PortBindings: Record<string, unknown> };
  Mounts: { Name?: string; Destination: string }[];
  Snapshots?: { Name: string; Comment: string; Size: number }[];
  NetworkSettings: {
    Networks: Record<string, { MacAddress: string; IPAddress: string; Aliases: string[] | null }>;
  };
}

describe('snapshots and clones of containers', () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon();
  });
  after(() => daemon?.close());

  const isle = (...args: string[]) => call(daemon.host, args);
  const ok = async (...args: string[]) => {
    const { code, stdout, stderr } = await isle(...args);
    assert.equal(code, 0, `isle ${args.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  };
  const fails = async (message: RegExp, ...args: string[]) => {
    const { code, stderr } = await isle(...args);
    assert.notEqual(code, 0, `isle ${args.join(' ')} did not fail`);
    assert.match(stderr, message);
  };
  const inspect = async (name: string) =>
    (await daemon.ok('GET', `/containers/${name}/json`)).json() as unknown as Inspect;
  const run = (name: string, ...args: string[]) =>
    ok(
      'run',
      '-d',
      '--name',
      name,
      ...args,
      'busybox',
      'sh',
      '-c',
      'trap "exit 0" TERM; while :; do sleep 0.1; done',
    );
  const write = (name: string, text: string) => ok('exec', name, 'sh', '-c', `printf '${text}' > /root-file`);
  const read = (name: string) => ok('exec', name, 'cat', '/root-file');

  test('a running container is snapshotted without a pause that shows, broken, refused, and restored', async () => {
    await run('web');
    await write('web', 'good');
    const since = Math.floor(Date.now() / 1000) - 1;
    assert.equal(await ok('snapshot', 'create', 'web', 'good', '--comment', 'it works'), 'good');
    const before = await inspect('web');
    assert.equal(before.State.Status, 'running');
    assert.deepEqual(
      before.Snapshots?.map(({ Name, Comment }) => [Name, Comment]),
      [['good', 'it works']],
    );
    await ok('exec', 'web', 'sh', '-c', 'rm -rf /etc /root-file; echo broken > /broken');
    await fails(/is running; stop it first, or .*--restart/, 'snapshot', 'restore', 'web', 'good');
    await ok('snapshot', 'restore', '--restart', '-t', '5', 'web', 'good');
    assert.equal(await read('web'), 'good');
    await ok('exec', 'web', 'sh', '-c', 'test -e /etc/passwd && test ! -e /broken');
    const now = await inspect('web');
    assert.equal(now.State.Status, 'running');
    assert.notEqual(now.State.StartedAt, before.State.StartedAt);
    const until = Math.ceil(Date.now() / 1000);
    const { text } = await daemon.ok('GET', `/events?since=${since}&until=${until}`);
    for (const action of ['snapshot-create', 'snapshot-restore', 'restart'])
      assert.ok(text.includes(`"${action}"`), `no event ${action}`);
    assert.ok(!text.includes('"pause"'));
    await ok('rm', '-f', 'web');
    assert.deepEqual(readdirSync(join(daemon.dataRoot, 'snapshots')), ['.empty']);
  });

  test('a stopped one is restored as often as wanted; names are counted, listed and checked', async () => {
    await ok('run', '--name', 'batch', 'busybox', 'sh', '-c', 'echo one > /root-file');
    for (const name of ['snap0', 'snap1']) assert.equal(await ok('snapshot', 'create', 'batch'), name);
    await ok('snapshot', 'create', 'batch', 'x.y-z_1');
    assert.equal(await ok('snapshot', 'ls', '-q', 'batch'), 'snap0\nsnap1\nx.y-z_1');
    assert.match(await ok('snapshot', 'list', 'batch'), /NAME +CREATED +SIZE +COMMENT\nsnap0 /);
    await fails(/has a snapshot "snap0" already/, 'snapshot', 'create', 'batch', 'snap0');
    for (const bad of ['../x', '.new-1', 'a/b', 'x'.repeat(129), '-x', ' ', 'a\nb'])
      assert.equal(
        (await daemon.call('POST', '/isle/v1/containers/batch/snapshots', { Name: bad })).status,
        400,
        bad,
      );
    const long = await daemon.call('POST', '/isle/v1/containers/batch/snapshots', {
      Comment: 'x'.repeat(5000),
    });
    assert.equal(long.status, 400);
    for (let i = 0; i < 2; i++) await ok('snapshot', 'restore', 'batch', 'snap0');
    await fails(/no snapshot "nope"/, 'snapshot', 'restore', 'batch', 'nope');
    await fails(/no snapshot "nope"/, 'snapshot', 'rm', 'batch', 'nope');
    await fails(/No such container/, 'snapshot', 'ls', 'nobody');
    assert.equal(await ok('snapshot', 'rm', 'batch', 'snap0', 'snap1'), 'snap0\nsnap1');
    assert.equal(await ok('snapshot', 'ls', '-q', 'batch'), 'x.y-z_1');
    assert.equal(
      (await daemon.ok('GET', '/isle/v1/containers/batch/snapshots/x.y-z_1')).json().Name,
      'x.y-z_1',
    );
    await ok('rm', 'batch');
  });

  test('a container with volumes that never ran is restored; its volumes stay', async () => {
    await ok(
      'create',
      '--name',
      'fresh',
      '-v',
      '/etc',
      '-v',
      'kept:/kept',
      'busybox',
      'sh',
      '-c',
      'echo x > /kept/x',
    );
    await ok('snapshot', 'create', 'fresh', 'a');
    await ok('start', '-a', 'fresh');
    await ok('snapshot', 'restore', 'fresh', 'a');
    assert.equal(await ok('run', '--rm', '-v', 'kept:/kept', 'busybox', 'cat', '/kept/x'), 'x');
    await ok('rm', '-v', 'fresh');
    await ok('volume', 'rm', 'kept');
  });

  test('a clone is somebody else with the same content, whatever becomes of its source', async () => {
    await ok('network', 'create', 'n1');
    const asked = [
      '--network',
      'n1',
      '--network-alias',
      'service',
      '--hostname',
      'one',
      '-v',
      'shared:/shared',
    ];
    await run('one', ...asked, '-v', '/anonymous', '-p', '127.0.0.1:0:80', '-e', 'A=b');
    await write('one', 'then');
    await ok(
      'exec',
      'one',
      'sh',
      '-c',
      'echo 0123456789abcdef0123456789abcdef > /etc/machine-id; touch /anonymous/x',
    );
    await ok('snapshot', 'create', 'one', 's');
    await write('one', 'now');
    const { stdout, stderr } = await isle('clone', 'one', 'two', '--start');
    assert.match(stdout, /^[0-9a-f]{64}\n$/);
    assert.match(stderr, /shared with the source, not copied: \/shared\n.*anonymous volumes are new/s);
    await ok('copy', 'one/s', 'three');
    await ok('start', 'three');
    assert.deepEqual([await read('two'), await read('three')], ['now', 'then']);
    const [one, two] = [await inspect('one'), await inspect('two')];
    assert.equal(await ok('exec', 'two', 'hostname'), 'two');
    assert.equal(await ok('exec', 'two', 'sh', '-c', 'echo $A'), 'b');
    assert.equal(await ok('exec', 'two', 'cat', '/etc/machine-id'), '');
    assert.equal((await ok('exec', 'one', 'cat', '/etc/machine-id')).length, 32);
    assert.equal(await ok('exec', 'two', 'ls', '/anonymous'), '');
    const [from, to] = [one, two].map(({ NetworkSettings }) => NetworkSettings.Networks.n1!);
    assert.notEqual(from!.IPAddress, to!.IPAddress);
    assert.notEqual(from!.MacAddress, to!.MacAddress);
    assert.ok(!to!.Aliases?.includes('service'));
    const volume = (found: Inspect, at: string) =>
      found.Mounts.find(({ Destination }) => Destination === at)?.Name;
    assert.equal(volume(one, '/shared'), volume(two, '/shared'));
    assert.notEqual(volume(one, '/anonymous'), volume(two, '/anonymous'));
    assert.equal(two.Snapshots, undefined);
    await ok('rm', '-fv', 'one');
    assert.deepEqual([await read('two'), await read('three')], ['now', 'then']);
    await daemon.kill9();
    await daemon.start();
    assert.deepEqual([await read('two'), await read('three')], ['now', 'then']);
    await ok('rm', '-fv', 'two', 'three');
    await ok('network', 'rm', 'n1');
    await ok('volume', 'rm', 'shared');
    assert.equal(await ok('volume', 'ls', '-q'), '');
  });

  test('a clone does not fight over names and ports', async () => {
    await ok('create', '--name', 'p1', '-p', '127.0.0.1:18999:80', 'busybox', 'true');
    await fails(/publishes 18999\/tcp on the host.*--no-ports/, 'clone', 'p1', 'q1');
    await fails(/already in use/, 'clone', '--no-ports', 'p1', 'p1');
    await fails(/no snapshot "s"/, 'clone', '--no-ports', 'p1/s', 'q1');
    await fails(/Invalid container name/, 'clone', '--no-ports', 'p1', '../q1');
    await ok('clone', '--no-ports', 'p1', 'q1');
    assert.deepEqual((await inspect('q1')).HostConfig.PortBindings, {});
    await ok('rm', 'p1', 'q1');
    assert.deepEqual(readdirSync(join(daemon.dataRoot, 'snapshots')), ['.empty']);
  });

  test('what one does at once comes one after the other, and a removal wins', async () => {
    await run('busy');
    await ok('exec', 'busy', 'dd', 'if=/dev/urandom', 'of=/big', 'bs=1M', 'count=20');
    const post = (path: string, body: object) => daemon.call('POST', `/isle/v1/containers/busy${path}`, body);
    const answers = await Promise.all([
      post('/snapshots', { Name: 'a' }),
      post('/snapshots', { Name: 'a' }),
      post('/snapshots', {}),
      post('/snapshots/a/restore', { Restart: true, Timeout: 5 }),
      post('/clone', { Name: 'busy2' }),
    ]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [201, 409, 201, 204, 201],
    );
    assert.equal((await inspect('busy')).State.Status, 'running');
    const [taken, removed] = await Promise.all([
      post('/snapshots', { Name: 'late' }),
      daemon.call('DELETE', '/containers/busy?force=1'),
    ]);
    assert.equal(removed.status, 204);
    assert.ok([201, 404, 409].includes(taken.status), `${taken.status} ${taken.text}`);
    await ok('rm', '-f', 'busy2');
  });

  test('a daemon that dies while a container is held lets it go on when it is back', async () => {
    await run('frozen');
    await daemon.kill9();
    await daemon.start({ ISLE_FAILPOINT: 'engine.hold.after=kill' });
    await assert.rejects(daemon.call('POST', '/isle/v1/containers/frozen/snapshots', {}));
    await daemon.ended();
    await daemon.start();
    assert.equal((await inspect('frozen')).State.Status, 'running');
    await write('frozen', 'alive');
    assert.equal(await ok('snapshot', 'ls', '-q', 'frozen'), '');
    assert.equal(existsSync(join(daemon.dataRoot, 'snapshots', (await inspect('frozen')).Id, 'saved')), true);
    assert.deepEqual(
      readdirSync(join(daemon.dataRoot, 'snapshots', (await inspect('frozen')).Id, 'saved')),
      [],
    );
    await ok('rm', '-f', 'frozen');
  });

  for (const runtime of ['system', 'microvm'])
    test(`what a ${runtime} workload has written is saved, restored and cloned like any other`, async () => {
      await run(`a-${runtime}`, '--runtime', runtime);
      await write(`a-${runtime}`, 'then');
      await ok('snapshot', 'create', `a-${runtime}`);
      await write(`a-${runtime}`, 'now');
      await ok('clone', `a-${runtime}`, `b-${runtime}`, '--start');
      await ok('snapshot', 'restore', '--restart', '-t', '1', `a-${runtime}`, 'snap0');
      assert.deepEqual([await read(`a-${runtime}`), await read(`b-${runtime}`)], ['then', 'now']);
      await ok('rm', '-f', `a-${runtime}`, `b-${runtime}`);
    });

  test('system df counts snapshots', async () => {
    await ok('run', '--name', 'sized', 'busybox', 'dd', 'if=/dev/urandom', 'of=/big', 'bs=1M', 'count=3');
    const size = async () =>
      (await daemon.ok('GET', '/system/df?type=container')).json<{ Containers: { SizeRw: number }[] }>()
        .Containers[0]!.SizeRw;
    const before = await size();
    await ok('snapshot', 'create', 'sized');
    assert.ok((await size()) >= before + 3e6);
    await ok('rm', 'sized');
  });
});

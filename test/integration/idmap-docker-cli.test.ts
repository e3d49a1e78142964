import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { DockerClient } from '../fixtures/docker-client.ts';

/** User namespaces by the stock client, whose `--userns` knows `host` only. */
const own = ['--security-opt', 'userns=auto'];

let daemon: TestDaemon;
let docker: DockerClient;
const here = mkdtempSync(join(tmpdir(), 'isle-idmap-'));

before(async () => {
  daemon = await startDaemon();
  docker = new DockerClient(daemon.host);
});

after(async () => {
  docker[Symbol.dispose]();
  rmSync(here, { recursive: true });
  await daemon.close();
});

async function hostIdOf(name: string): Promise<number> {
  const pid = await docker.ok('inspect', '-f', '{{.State.Pid}}', name);
  const [inside, outside, size] = readFileSync(`/proc/${pid}/uid_map`, 'latin1')
    .trim()
    .split(/\s+/)
    .map(Number);
  assert.deepEqual([inside, size], [0, 65_536]);
  assert.equal(
    readFileSync(`/proc/${pid}/gid_map`, 'latin1'),
    readFileSync(`/proc/${pid}/uid_map`, 'latin1'),
  );
  return outside!;
}

async function sh(name: string, script: string, ...flags: string[]): Promise<string> {
  return await docker.ok('exec', ...flags, name, 'sh', '-c', script);
}

test('root inside is nobody outside, and each container somebody else', async () => {
  for (const name of ['one', 'two'])
    await docker.ok('run', '-d', '--name', name, ...own, 'busybox', 'sleep', '1000');
  const [one, two] = [await hostIdOf('one'), await hostIdOf('two')];
  assert.ok(one >= 1_879_048_192 && two >= 1_879_048_192, `${one} ${two}`);
  assert.ok(Math.abs(one - two) >= 65_536);
  assert.equal(
    await sh('one', 'id -u; touch /file; stat -c %u:%g /file /etc/hosts /dev/null /proc/1'),
    '0\n0:0\n0:0\n0:0\n0:0',
  );
  const pid = await docker.ok('inspect', '-f', '{{.State.Pid}}', 'one');
  assert.equal(statSync(`/proc/${pid}/root/file`).uid, one);
  assert.equal(statSync(`/proc/${pid}`).uid, one);
  // On the disk the owners are as inside: the layer can be anybody's.
  const id = await docker.ok('inspect', '-f', '{{.Id}}', 'one');
  assert.equal(statSync(join(daemon.dataRoot, 'snapshots', id, 'upper/file')).uid, 0);
  assert.equal(await docker.ok('inspect', '-f', '{{.HostConfig.UsernsMode}}', 'one'), 'auto');
  const { HostConfig } = (await daemon.ok('GET', '/containers/one/json')).json<{
    HostConfig: { IDMappings: { UidMap: string[] } };
  }>();
  assert.deepEqual(HostConfig.IDMappings.UidMap, [`0:${one}:65536`]);
  // Nobody else on the host gets to a setuid file in it.
  const mapped = statSync(join(daemon.runRoot, 'mapped', id));
  assert.deepEqual([mapped.uid, mapped.gid, mapped.mode & 0o777], [one, one, 0o700]);
  await docker.ok('rm', '-f', 'one', 'two');
});

test('its range stays over a restart of the container and of the daemon, and goes with it', async () => {
  await docker.ok('run', '-d', '--name', 'kept', ...own, 'busybox', 'sleep', '1000');
  const first = await hostIdOf('kept');
  await docker.ok('restart', '-t', '0', 'kept');
  assert.equal(await hostIdOf('kept'), first);
  await daemon.kill9();
  await daemon.start();
  assert.equal(await hostIdOf('kept'), first);
  assert.equal(await sh('kept', 'id -u'), '0');
  await docker.ok('run', '-d', '--name', 'next', ...own, 'busybox', 'sleep', '1000');
  assert.notEqual(await hostIdOf('next'), first);
  await docker.ok('rm', '-f', 'kept');
  await docker.ok('run', '-d', '--name', 'again', ...own, 'busybox', 'sleep', '1000');
  assert.equal(await hostIdOf('again'), first);
  await docker.ok('rm', '-f', 'next', 'again');
});

test('a user other than root writes to its streams, terminal and files', async () => {
  const script = 'id -u; echo out >/dev/stdout; echo err >/dev/stderr; touch /tmp/mine; stat -c %u /tmp/mine';
  const plain = await docker.run(['run', '--rm', '-u', '1000', ...own, 'busybox', 'sh', '-c', script]);
  assert.deepEqual(plain, { code: 0, stdout: '1000\nout\n1000\n', stderr: 'err\n' });
  const terminal = await docker.run([
    'run',
    '--rm',
    '-t',
    '-u',
    '1000',
    ...own,
    'busybox',
    'sh',
    '-c',
    'echo x >/dev/tty; stat -c %u $(tty)',
  ]);
  assert.equal(terminal.stdout, 'x\r\n1000\r\n');
  await docker.ok('run', '-d', '--name', 'user', ...own, 'busybox', 'sleep', '1000');
  const executed = await docker.run(['exec', '-u', '1000', 'user', 'sh', '-c', script]);
  assert.deepEqual(executed, { code: 0, stdout: '1000\nout\n1000\n', stderr: 'err\n' });
  const beyond = await docker.run(['exec', '-u', '70000', 'user', 'true']);
  assert.match(beyond.stdout + beyond.stderr, /id 70000 does not exist in the container's user namespace/);
  await docker.ok('rm', '-f', 'user');
  assert.deepEqual([statSync('/dev/null').uid, statSync('/dev/null').mode & 0o777], [0, 0o666]);
});

test('setuid programs and file capabilities of an image work', async () => {
  const build = join(here, 'caps');
  mkdirSync(join(build, 'bin'), { recursive: true });
  writeFileSync(join(here, 'who.c'), whoProgram);
  execFileSync('gcc', ['-static', '-o', join(build, 'bin/setuid'), join(here, 'who.c')]);
  execFileSync('cp', [join(build, 'bin/setuid'), join(build, 'bin/capable')]);
  execFileSync('chmod', ['4755', join(build, 'bin/setuid')]);
  setCapability(join(build, 'bin/capable'), 10);
  const tar = ['--xattrs', '--xattrs-include=*', '-C', build, '-cf', join(here, 'caps.tar'), 'bin'];
  execFileSync('tar', tar);
  // Put into a container with a namespace, they are the image's for any: and come out as they went in.
  await docker.ok('create', '--name', 'maker', ...own, 'busybox', 'true');
  const { code, stderr } = await docker.run(['cp', '-', 'maker:/'], readFileSync(join(here, 'caps.tar')));
  assert.equal(code, 0, stderr);
  await docker.ok('commit', 'maker', 'caps');
  await docker.ok('export', '-o', join(here, 'caps-out.tar'), 'maker');
  await docker.ok('rm', 'maker');
  mkdirSync(join(here, 'out'));
  execFileSync('tar', [
    '--xattrs',
    '--xattrs-include=*',
    '-C',
    join(here, 'out'),
    '-xpf',
    join(here, 'caps-out.tar'),
    'bin',
  ]);
  assert.equal(capabilityOf(join(here, 'out/bin/capable')), capabilityOf(join(build, 'bin/capable')));
  for (const flags of [own, []]) {
    const output = await docker.ok(
      'run',
      '--rm',
      '-u',
      '1000',
      ...flags,
      'caps',
      'sh',
      '-c',
      '/bin/setuid; /bin/capable',
    );
    assert.equal(output, '0 CapEff:\t00000000a80425fb\n1000 CapEff:\t0000000000000400', flags.join(' '));
  }
  const changed = 'cp /bin/capable /mine && chown 1000 /bin/capable; /bin/capable';
  assert.match(await docker.ok('run', '--rm', ...own, 'caps', 'sh', '-c', changed), /^0 /);
  await docker.ok('rmi', 'caps');
});

test('volumes and binds show the same owners to those with a namespace and without', async () => {
  const bind = join(here, 'bind');
  mkdirSync(bind);
  writeFileSync(join(bind, 'of-root'), '');
  const mounts = ['-v', 'shared:/data', '-v', `${bind}:/bind`];
  await docker.ok(
    'run',
    '--rm',
    ...mounts,
    ...own,
    'busybox',
    'sh',
    '-c',
    'touch /data/a /bind/a; chown 1000:1000 /data/a /bind/a',
  );
  assert.equal(statSync(join(bind, 'a')).uid, 1000);
  const look = 'stat -c %n:%u:%g /data/* /bind/*';
  const seen = ['/data/a:1000:1000', '/bind/a:1000:1000', '/bind/of-root:0:0'].join('\n');
  for (const flags of [own, []])
    assert.equal(await docker.ok('run', '--rm', ...mounts, ...flags, 'busybox', 'sh', '-c', look), seen);
  const readOnly = await docker.run([
    'run',
    '--rm',
    '-v',
    `${bind}:/bind:ro`,
    ...own,
    'busybox',
    'touch',
    '/bind/x',
  ]);
  assert.match(readOnly.stderr, /Read-only file system/);
  await docker.ok('volume', 'rm', 'shared');
});

test('a file is bound read-only, as configurations are', async () => {
  const file = join(here, 'app.conf');
  writeFileSync(file, 'x');
  for (const flags of [own, []])
    for (const bind of [
      ['-v', `${file}:/etc/app.conf:ro`],
      ['--mount', `type=bind,source=${file},target=/etc/app.conf,readonly`],
    ]) {
      const { stdout, stderr } = await docker.run([
        'run',
        '--rm',
        ...bind,
        ...flags,
        'busybox',
        'sh',
        '-c',
        'cat /etc/app.conf; echo y >/etc/app.conf',
      ]);
      assert.equal(stdout, 'x');
      assert.match(stderr, /Read-only file system/);
    }
  assert.equal(readFileSync(file, 'utf8'), 'x');
});

test('what is mounted below a bind comes along, and what cannot be translated is told', async () => {
  const outer = join(here, 'outer');
  mkdirSync(join(outer, 'memory'), { recursive: true });
  mkdirSync(join(outer, 'kernel'));
  execFileSync('mount', ['-t', 'tmpfs', 'none', join(outer, 'memory')]);
  execFileSync('mount', ['-t', 'proc', 'none', join(outer, 'kernel')]);
  try {
    writeFileSync(join(outer, 'memory/file'), 'x');
    const look = 'stat -c %u /outer /outer/memory/file /outer/kernel/version; touch /outer/memory/new';
    const bind = ['-v', `${outer}:/outer`];
    const locked = [
      'run',
      '--rm',
      '-v',
      `${outer}:/outer:ro`,
      ...own,
      'busybox',
      'touch',
      '/outer/memory/new',
    ];
    assert.match((await docker.run(locked)).stderr, /Read-only file system/);
    assert.equal(await docker.ok('run', '--rm', ...bind, ...own, 'busybox', 'sh', '-c', look), '0\n0\n65534');
    assert.equal(statSync(join(outer, 'memory/new')).uid, 0);
    const flat = ['--mount', `type=bind,source=${outer},target=/outer,bind-recursive=disabled`];
    assert.equal(await docker.ok('run', '--rm', ...flat, ...own, 'busybox', 'ls', '/outer/memory'), '');
    const wrong = await docker.run(['run', '--rm', '-v', '/proc:/host-proc', ...own, 'busybox', 'true']);
    assert.match(wrong.stderr, /owners cannot be translated on the file system of \/proc: take another/);
    assert.equal(
      await docker.ok('run', '--rm', '-v', '/dev/zero:/zero', ...own, 'busybox', 'head', '-c', '0', '/zero'),
      '',
    );
  } finally {
    for (const name of ['memory', 'kernel']) execFileSync('umount', [join(outer, name)]);
  }
});

test('a volume is filled from the image with plain owners', async () => {
  await docker.ok('create', '--name', 'maker', 'busybox', 'true');
  const archive = execFileSync('sh', [
    '-c',
    `cd ${here} && mkdir -p seed/data && echo x > seed/data/file && tar --owner=7 --group=8 -C seed -cf - data`,
  ]);
  assert.equal((await docker.run(['cp', '-', 'maker:/'], archive)).code, 0);
  await docker.ok('commit', '-c', 'VOLUME /data', 'maker', 'seeded');
  await docker.ok('rm', 'maker');
  for (const flags of [own, []])
    assert.equal(
      await docker.ok(
        'run',
        '--rm',
        '-v',
        'filled:/data',
        ...flags,
        'seeded',
        'stat',
        '-c',
        '%u:%g',
        '/data/file',
        '/data',
      ),
      '7:8\n7:8',
    );
  await docker.ok('volume', 'rm', 'filled');
  await docker.ok('rmi', 'seeded');
});

test('read-only roots, tmpfs, privileged and devices are confined to the namespace', async () => {
  const readOnly = await docker.run([
    'run',
    '--rm',
    '--read-only',
    '--tmpfs',
    '/scratch',
    ...own,
    'busybox',
    'sh',
    '-c',
    'touch /scratch/x && stat -c %u /scratch/x; touch /x',
  ]);
  assert.match(readOnly.stdout, /^0$/m);
  assert.match(readOnly.stderr, /Read-only file system/);
  const script =
    'mkdir -p /m; mount -t tmpfs none /m && touch /m/x && echo mounted; mknod /tmp/null c 1 3 || echo no nodes; grep CapEff /proc/self/status; ls /dev';
  const { stdout } = await docker.run(['run', '--rm', '--privileged', ...own, 'busybox', 'sh', '-c', script]);
  assert.match(stdout, /mounted\nno nodes\n/);
  assert.doesNotMatch(stdout, /vda|kmsg|mem$/m);
  const device = await docker.ok(
    'run',
    '--rm',
    '--device',
    '/dev/zero:/dev/sub/mine',
    ...own,
    'busybox',
    'sh',
    '-c',
    'stat -c %u:%t:%T /dev/sub/mine; head -c 3 /dev/sub/mine | wc -c',
  );
  assert.equal(device, '0:1:5\n3');
});

test('root inside may configure its network when it is let, and only that', async () => {
  const script =
    'ip addr add 10.99.0.1/32 dev lo && ip -4 -o addr show dev lo | grep -c 10.99; ls /sys/class/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start';
  assert.equal(
    await docker.ok('run', '--rm', '--cap-add', 'NET_ADMIN', ...own, 'busybox', 'sh', '-c', script),
    '1\neth0\nlo\n0',
  );
  const without = await docker.run([
    'run',
    '--rm',
    ...own,
    'busybox',
    'ip',
    'addr',
    'add',
    '10.99.0.1/32',
    'dev',
    'lo',
  ]);
  assert.match(without.stderr, /Operation not permitted/);
  assert.equal(
    await docker.ok(
      'run',
      '--rm',
      '--sysctl',
      'net.ipv4.ip_forward=1',
      ...own,
      'busybox',
      'cat',
      '/proc/sys/net/ipv4/ip_forward',
    ),
    '1',
  );
});

test('networks are joined, left, resolved and reached through published ports', async () => {
  await docker.ok('network', 'create', 'inner');
  const serve = 'mkdir /www; echo served >/www/index.html; httpd -f -p 80 -h /www';
  await docker.ok(
    'run',
    '-d',
    '--name',
    'server',
    '-p',
    '127.0.0.1::80',
    ...own,
    'busybox',
    'sh',
    '-c',
    serve,
  );
  await docker.ok('network', 'connect', 'inner', 'server');
  const fetch = ['busybox', 'wget', '-qO-', 'http://server/index.html'];
  for (const flags of [own, []])
    assert.equal(await docker.ok('run', '--rm', '--network', 'inner', ...flags, ...fetch), 'served');
  const [, port] = (await docker.ok('port', 'server', '80')).split(':');
  const answer = await globalThis.fetch(`http://127.0.0.1:${port}/index.html`);
  assert.equal(await answer.text(), 'served\n');
  assert.equal(await sh('server', 'ls /sys/class/net'), 'eth0\neth1\nlo');
  await docker.ok('network', 'disconnect', 'inner', 'server');
  assert.equal(await sh('server', 'ls /sys/class/net'), 'eth0\nlo');
  await docker.ok('rm', '-f', 'server');
  await docker.ok('network', 'rm', 'inner');
});

test("who shares a container's namespaces shares its ids", async () => {
  await docker.ok('run', '-d', '--name', 'owner', '--ipc', 'shareable', ...own, 'busybox', 'sleep', '1000');
  await docker.ok('run', '-d', '--name', 'plain', 'busybox', 'sleep', '1000');
  const map = await sh('owner', 'cat /proc/self/uid_map');
  for (const flags of [
    ['--network', 'container:owner'],
    ['--pid', 'container:owner'],
    ['--ipc', 'container:owner'],
    ['--network', 'container:owner', '--pid', 'container:owner', '--ipc', 'container:owner'],
  ])
    assert.equal(
      await docker.ok('run', '--rm', ...flags, 'busybox', 'cat', '/proc/self/uid_map'),
      map,
      flags.join(' '),
    );
  const foreign = await docker.ok(
    'run',
    '--rm',
    '--network',
    'container:plain',
    ...own,
    'busybox',
    'sh',
    '-c',
    'ls /sys/class/net; cat /proc/self/uid_map',
  );
  assert.match(foreign, /^eth0\nlo\n +0 \d{10}/);
  const refused: [string[], RegExp][] = [
    [['--pid', 'container:plain'], /cannot share IPC or processes with one without/],
    [['--pid', 'host'], /cannot share the host PID namespace when user namespaces are enabled/],
    [['--network', 'host'], /cannot share the host's network namespace when user namespaces are enabled/],
  ];
  for (const [flags, why] of refused)
    assert.match((await docker.run(['run', '--rm', ...flags, ...own, 'busybox', 'true'])).stderr, why);
  assert.equal(
    await docker.ok(
      'run',
      '--rm',
      '--pid',
      'container:owner',
      '--userns',
      'host',
      'busybox',
      'sh',
      '-c',
      'cat /proc/self/uid_map | tr -s " "',
    ),
    '0 0 4294967295',
  );
  await docker.ok('rm', '-f', 'owner', 'plain');
});

test('cp takes and gives the owners inside, whether it runs or not', async () => {
  await docker.ok('create', '--name', 'copied', '-v', 'vol:/vol', ...own, 'busybox', 'sleep', '1000');
  for (const phase of ['created', 'running', 'stopped']) {
    if (phase === 'running') await docker.ok('start', 'copied');
    if (phase === 'stopped') await docker.ok('stop', '-t', '0', 'copied');
    for (const place of ['/in', '/vol']) {
      const archive = execFileSync('sh', [
        '-c',
        `cd ${here} && mkdir -p give/sub && echo ${phase} > give/sub/file && tar --owner=7 --group=8 -C give -cf - sub`,
      ]);
      const into = `copied:${place === '/in' ? '/' : place}`;
      const put = await docker.run(['cp', '-', into], archive);
      assert.equal(put.code, 0, put.stderr);
      writeFileSync(join(here, 'taken.tar'), execFileSync('true'));
      const path = place === '/in' ? '/sub/file' : '/vol/sub/file';
      const taken = await docker.run(['cp', `copied:${path}`, '-']);
      assert.equal(taken.code, 0, taken.stderr);
      writeFileSync(join(here, 'taken.tar'), taken.stdout, 'latin1');
      assert.match(
        execFileSync('tar', ['--numeric-owner', '-tvf', join(here, 'taken.tar')], { encoding: 'utf8' }),
        / 7\/8 /,
        `${phase} ${path}`,
      );
    }
    const root = await docker.run(['cp', 'copied:/bin', '-']);
    writeFileSync(join(here, 'root.tar'), root.stdout, 'latin1');
  }
  await docker.ok('start', 'copied');
  assert.equal(
    await sh('copied', 'stat -c %u:%g /sub /sub/file /vol/sub/file; cat /sub/file'),
    '7:8\n7:8\n7:8\nstopped',
  );
  // `cp -a` gives everything to the container's user.
  writeFileSync(join(here, 'mine'), '');
  await docker.ok('cp', '-a', join(here, 'mine'), 'copied:/tmp/');
  assert.equal(await sh('copied', 'stat -c %u /tmp/mine'), '0');
  const beyond = execFileSync('sh', ['-c', `cd ${here} && tar --owner=70000 -cf - mine`]);
  assert.match(
    (await docker.run(['cp', '-', 'copied:/tmp'], beyond)).stderr,
    /70000 does not exist in the container's user namespace/,
  );
  await docker.ok('rm', '-fv', 'copied');
  await docker.ok('volume', 'rm', 'vol');
});

test('commit, diff and export have plain owners', async () => {
  await docker.ok('run', '-d', '--name', 'made', ...own, 'busybox', 'sleep', '1000');
  await sh('made', 'mkdir /new; touch /new/file; chown 7:8 /new/file; chmod 700 /etc/passwd; rm /etc/group');
  assert.equal(await docker.ok('diff', 'made'), 'C /etc\nD /etc/group\nC /etc/passwd\nA /new\nA /new/file');
  await docker.ok('commit', 'made', 'committed');
  for (const flags of [own, []])
    assert.equal(
      await docker.ok(
        'run',
        '--rm',
        ...flags,
        'committed',
        'stat',
        '-c',
        '%u:%g',
        '/new',
        '/new/file',
        '/etc/passwd',
      ),
      '0:0\n7:8\n0:0',
    );
  await docker.ok('export', '-o', join(here, 'export.tar'), 'made');
  const listed = execFileSync('tar', ['--numeric-owner', '-tvf', join(here, 'export.tar')], {
    encoding: 'utf8',
  });
  assert.match(listed, / 7\/8 .* new\/file$/m);
  assert.doesNotMatch(listed, /\d{10}\/\d{10}| 65534\//);
  await docker.ok('rm', '-f', 'made');
  await docker.ok('rmi', 'committed');
});

test('top, stats, health and logs are as with any container', async () => {
  await docker.ok(
    'run',
    '-d',
    '--name',
    'seen',
    '--health-cmd',
    'test $(id -u) = 0',
    '--health-interval',
    '100ms',
    ...own,
    'busybox',
    'sh',
    '-c',
    'echo started; sleep 1000',
  );
  assert.match(await docker.ok('top', 'seen', '-eo', 'uid,user,pid,args'), /^0 +root +\d+ +sleep/m);
  assert.match(await docker.ok('top', 'seen'), /^root +\d+ .*sleep 1000$/m);
  assert.match(
    await docker.ok('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}}', 'seen'),
    /^seen [1-9]$/,
  );
  assert.equal(await docker.ok('logs', 'seen'), 'started');
  let health = '';
  for (const end = Date.now() + 20_000; health !== 'healthy' && Date.now() < end; )
    health = await docker.ok('inspect', '-f', '{{.State.Health.Status}}', 'seen');
  assert.equal(health, 'healthy');
  await docker.ok('rm', '-f', 'seen');
});

test('an image is mounted read-only, whole or in part, with and without a namespace', async () => {
  await docker.ok('create', '--name', 'maker', 'busybox', 'true');
  const archive = execFileSync('sh', [
    '-c',
    `cd ${here} && mkdir -p data/deep && echo x > data/deep/file && tar --owner=7 --group=8 -cf - data`,
  ]);
  assert.equal((await docker.run(['cp', '-', 'maker:/'], archive)).code, 0);
  await docker.ok('commit', 'maker', 'model:1');
  await docker.ok('rm', 'maker');
  const whole = 'type=image,source=model:1,target=/model';
  const look =
    'stat -c %u:%g /model/data/deep/file; touch /model/x; mount -o remount,rw /model; echo >/model/data/deep/file';
  for (const flags of [own, []]) {
    const seen = await docker.run(['run', '--rm', '--mount', whole, ...flags, 'busybox', 'sh', '-c', look]);
    assert.equal(seen.stdout, '7:8\n');
    assert.equal(
      seen.stderr.match(/Read-only file system|Operation not permitted|permission denied/g)?.length,
      3,
      seen.stderr,
    );
    const part = `${whole},image-subpath=data/deep`;
    assert.equal(
      await docker.ok('run', '--rm', '--mount', part, ...flags, 'busybox', 'ls', '/model'),
      'file',
    );
  }
  for (const [mount, why] of [
    ['type=image,source=nowhere,target=/m', /No such image: nowhere.*pull it first/],
    [`${whole},image-subpath=../etc`, /relative path inside the image/],
    [`${whole},image-subpath=data/none`, /no such file or directory there/],
  ] as const) {
    const { code, stderr } = await docker.run(['run', '--rm', '--mount', mount, 'busybox', 'true']);
    assert.notEqual(code, 0);
    assert.match(stderr, why);
  }
  await docker.ok('run', '-d', '--name', 'kept', '--mount', whole, ...own, 'busybox', 'sleep', '1000');
  assert.match(await docker.ok('inspect', '-f', '{{json .Mounts}}', 'kept'), /"Type":"image".*"RW":false/);
  await docker.ok('rmi', 'model:1');
  for (const act of ['', 'restart', 'daemon', 'stop']) {
    if (act === 'restart') await docker.ok('restart', '-t', '0', 'kept');
    if (act === 'stop') await docker.ok('stop', '-t', '0', 'kept');
    if (act === 'daemon') {
      await daemon.kill9();
      await daemon.start();
    }
    const copied = await docker.run(['cp', 'kept:/model/data/deep/file', '-']);
    writeFileSync(join(here, 'copied.tar'), copied.stdout, 'latin1');
    const listed = execFileSync('tar', ['--numeric-owner', '-tvf', join(here, 'copied.tar')], {
      encoding: 'utf8',
    });
    assert.match(listed, / 7\/8 /, act);
  }
  assert.match((await docker.run(['cp', join(here, 'copied.tar'), 'kept:/model/'])).stderr, /read-only/);
  await docker.ok('rm', '-f', 'kept');
});

test('a part of a volume is mounted, a directory or a file, and a link never leads out of it', async () => {
  const fill =
    'mkdir -p /v/sub; echo in >/v/sub/file; ln -s /etc /v/away; ln -s ../../../../../etc /v/up; ln -s sub /v/link';
  await docker.ok('run', '--rm', '-v', 'parts:/v', 'busybox', 'sh', '-c', fill);
  for (const flags of [own, []]) {
    const run = async (subpath: string) =>
      await docker.run([
        'run',
        '--rm',
        ...flags,
        '--mount',
        `type=volume,source=parts,target=/part,volume-subpath=${subpath}`,
        'busybox',
        'sh',
        '-c',
        '[ -d /part ] && ls /part || cat /part',
      ]);
    assert.equal((await run('sub')).stdout, 'file\n');
    assert.equal((await run('sub/file')).stdout, 'in\n');
    assert.equal((await run('link')).stdout, 'file\n');
    for (const wrong of ['away', 'up', 'none'])
      assert.match((await run(wrong)).stderr, /no such file or directory there/);
  }
  await docker.ok('volume', 'rm', 'parts');
});

test('an engine whose containers all have a namespace lets them out by --userns=host, and says when no ids are left', async () => {
  const config = join(here, 'config.yaml');
  const usernsIds = { first: 2_000_000_000, last: 2_000_000_000 + 2 * 65_536 - 1 };
  writeFileSync(config, JSON.stringify({ containers: { userns: 'auto', usernsIds } }));
  await using strict = await startDaemon({ args: ['--config', config] });
  using client = new DockerClient(strict.host);
  assert.match(await client.ok('info', '-f', '{{.SecurityOptions}}'), /name=userns/);
  const map = ['run', '--rm', 'busybox', 'sh', '-c', 'tr -s " " </proc/self/uid_map'];
  assert.match(await client.ok(...map), /^0 2000\d{6} 65536$/);
  assert.equal(await client.ok('run', '--rm', '--userns', 'host', ...map.slice(2)), '0 0 4294967295');
  const privileged = ['run', '--rm', '--privileged', 'busybox', 'true'];
  assert.match((await client.run(privileged)).stderr, /privileged mode is incompatible with user namespaces/);
  await client.ok('run', '--rm', '--userns', 'host', ...privileged.slice(2));
  for (const name of ['first', 'second']) await client.ok('create', '--name', name, 'busybox', 'true');
  const third = await client.run(['run', '--rm', 'busybox', 'true']);
  assert.match(third.stderr, /no 65536 ids are left for another user namespace/);
  await strict.kill9();
  await strict.start();
  assert.match((await client.run(['create', 'busybox'])).stderr, /no 65536 ids are left/);
  await client.ok('rm', 'first');
  assert.match(await client.ok(...map), /^0 2000\d{6} 65536$/);
  await client.ok('rm', 'second');
});

/** Prints its effective user and capabilities. */
const whoProgram = `
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void) {
  char line[256];
  FILE *status = fopen("/proc/self/status", "r");
  printf("%d ", (int)geteuid());
  while (status && fgets(line, sizeof line, status))
    if (!strncmp(line, "CapEff:", 7)) fputs(line, stdout);
  return 0;
}
`;

/** `security.capability`, version 2, permitted and effective: without a tool that may not be there. */
function setCapability(path: string, capability: number): void {
  const value = Buffer.alloc(20);
  value.writeUInt32LE(0x0200_0001, 0);
  value.writeUInt32LE(1 << capability, 4);
  const script =
    'import os, sys; os.setxattr(sys.argv[1], "security.capability", bytes.fromhex(sys.argv[2]))';
  execFileSync('python3', ['-c', script, path, value.toString('hex')]);
}

function capabilityOf(path: string): string {
  const script = 'import os, sys; print(os.getxattr(sys.argv[1], "security.capability").hex())';
  return execFileSync('python3', ['-c', script, path], { encoding: 'latin1' }).trim();
}

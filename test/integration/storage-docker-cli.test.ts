import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { DockerClient } from '../fixtures/docker-client.ts';

let daemon: TestDaemon;
let docker: DockerClient;
let work: string;

before(async () => {
  work = mkdtempSync(join(tmpdir(), 'isle-cp-'));
  daemon = await startDaemon();
  docker = new DockerClient(daemon.host);
});

after(async () => {
  docker[Symbol.dispose]();
  await daemon.close();
  rmSync(work, { recursive: true, force: true });
});

function local(name: string, content: string): string {
  const path = join(work, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
}

/** Runs `check` with a container that runs, and again with one that does not. */
async function bothWays(check: (name: string) => Promise<void>): Promise<void> {
  await docker.ok('run', '-d', '--name', 'running', 'busybox', 'sleep', '1000');
  await docker.ok('create', '--name', 'stopped', 'busybox', 'sleep', '1000');
  try {
    await check('running');
    await check('stopped');
  } finally {
    await docker.ok('rm', '-f', 'running', 'stopped');
  }
}

test('cp: a file to a name, to a directory and to nowhere', async () => {
  const file = local('file', 'content');
  await bothWays(async (name) => {
    await docker.ok('cp', file, `${name}:/tmp/renamed`);
    await docker.ok('cp', file, `${name}:/tmp/`);
    await docker.ok('cp', `${name}:/tmp/renamed`, join(work, `${name}-back`));
    assert.equal(readFileSync(join(work, `${name}-back`), 'utf8'), 'content');
    await docker.ok('cp', `${name}:/tmp/file`, work);
    const nowhere = await docker.run(['cp', file, `${name}:/missing/directory/`]);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /no such directory|Could not find the file/);
    const missing = await docker.run(['cp', `${name}:/missing`, work]);
    assert.match(missing.stderr, new RegExp(`Could not find the file /missing in container ${name}`));
  });
});

test('cp: directories, with and without their name, in both directions', async () => {
  local('tree/a', 'A');
  local('tree/sub/b', 'B');
  symlinkSync('a', join(work, 'tree/link'));
  chownSync(join(work, 'tree/a'), 1234, 5678);
  await bothWays(async (name) => {
    await docker.ok('cp', join(work, 'tree'), `${name}:/tmp`);
    await docker.ok('cp', `${join(work, 'tree')}/.`, `${name}:/tmp`);
    await docker.ok('cp', join(work, 'tree'), `${name}:/new-name`);
    for (const path of ['/tmp/tree', '/tmp', '/new-name']) {
      const out = join(work, `out-${name}${path.replaceAll('/', '-')}`);
      await docker.ok('cp', `${name}:${path}/.`, out);
      assert.equal(readFileSync(join(out, 'sub/b'), 'utf8'), 'B');
      assert.equal(readlinkSync(join(out, 'link')), 'a');
    }
    const owner = execFileSync('sh', ['-c', `docker cp ${name}:/new-name/a - | tar -tv --numeric-owner`], {
      env: { ...process.env, DOCKER_HOST: daemon.host },
      encoding: 'utf8',
    });
    assert.match(owner, / 1234\/5678 /);
    const file = await docker.run(['cp', join(work, 'tree'), `${name}:/new-name/a`]);
    assert.match(file.stderr, /cannot copy directory/);
  });
});

test('cp: symlinks are copied as such, followed with -L, and never lead out of the container', async () => {
  const secret = local('host-secret', 'of the host');
  await docker.ok(
    'run',
    '--name',
    'links',
    'busybox',
    'sh',
    '-c',
    `ln -s ${secret} /out; ln -s /etc /dir; ln -s ../../../..${work} /up`,
  );
  await docker.ok('cp', 'links:/dir', join(work, 'dir-link'));
  assert.equal(readlinkSync(join(work, 'dir-link')), '/etc');
  await docker.ok('cp', '-L', 'links:/dir', join(work, 'dir-followed'));
  assert.ok(statSync(join(work, 'dir-followed')).isDirectory());
  const out = await docker.run(['cp', '-L', 'links:/out', join(work, 'stolen')]);
  assert.equal(out.code, 1, 'what the link leads to does not exist inside');
  assert.equal(existsSync(join(work, 'stolen')), false);
  await docker.run(['cp', local('evil', 'evil'), 'links:/up/host-secret']);
  assert.equal(readFileSync(secret, 'utf8'), 'of the host');
  await docker.ok('rm', 'links');
});

test('cp: to and from standard streams, and through volumes', async () => {
  await docker.ok('volume', 'create', 'shared');
  await docker.ok(
    'create',
    '--name',
    'streams',
    '-v',
    'shared:/data',
    '-v',
    'shared:/read-only:ro',
    'busybox',
    'true',
  );
  const archive = execFileSync('tar', ['-C', work, '-cf', '-', 'file']);
  writeFileSync(join(work, 'archive.tar'), archive);
  execFileSync('sh', ['-c', `docker cp - streams:/data <${join(work, 'archive.tar')}`], {
    env: { ...process.env, DOCKER_HOST: daemon.host },
  });
  const listed = execFileSync('sh', ['-c', 'docker cp streams:/data - | tar -t'], {
    env: { ...process.env, DOCKER_HOST: daemon.host },
    encoding: 'utf8',
  });
  assert.deepEqual(listed.trim().split('\n'), ['data/', 'data/file']);
  assert.equal(
    await docker.ok('run', '--rm', '-v', 'shared:/data', 'busybox', 'cat', '/data/file'),
    'content',
  );
  const refused = await docker.run(['cp', join(work, 'file'), 'streams:/read-only/x']);
  assert.match(refused.stderr, /marked read-only/);
  await docker.ok('rm', 'streams');
  await docker.ok('volume', 'rm', 'shared');
});

test('cp: into a read-only root is refused', async () => {
  await docker.ok('create', '--name', 'fixed', '--read-only', 'busybox', 'true');
  const refused = await docker.run(['cp', join(work, 'file'), 'fixed:/x']);
  assert.match(refused.stderr, /container rootfs is marked read-only/);
  await docker.ok('rm', 'fixed');
});

test('diff tells what changed, ps -s how much it takes', async () => {
  await docker.ok(
    'run',
    '--name',
    'changed',
    'busybox',
    'sh',
    '-c',
    'echo x >/new; rm -r /home; mkdir /tmp/d; head -c 100000 /dev/urandom >/tmp/d/big',
  );
  const diff = await docker.ok('diff', 'changed');
  for (const line of ['A /new', 'D /home', 'C /tmp', 'A /tmp/d', 'A /tmp/d/big'])
    assert.ok(diff.split('\n').includes(line), diff);
  assert.match(
    await docker.ok('ps', '-as', '--filter', 'name=changed', '--format', '{{.Size}}'),
    /^1\d\dkB \(virtual/,
  );
  await docker.ok('rm', 'changed');
});

test('a new volume is filled from the image unless nocopy, and a driver’s options are mounted', async () => {
  await docker.ok(
    'run',
    '--name',
    'base',
    'busybox',
    'sh',
    '-c',
    'mkdir /seed && echo seeded >/seed/file && chown 77:88 /seed',
  );
  await docker.ok('commit', 'base', 'seeded:1');
  const show = ['sh', '-c', 'cat /seed/file; stat -c %u:%g /seed'];
  assert.equal(await docker.ok('run', '--rm', '-v', 'filled:/seed', 'seeded:1', ...show), 'seeded\n77:88');
  const bare = await docker.run([
    'run',
    '--rm',
    '--mount',
    'type=volume,src=bare,dst=/seed,volume-nocopy',
    'seeded:1',
    ...show,
  ]);
  assert.match(bare.stderr, /No such file/);
  await docker.ok(
    'volume',
    'create',
    '--opt',
    'type=tmpfs',
    '--opt',
    'device=tmpfs',
    '--opt',
    'o=size=1m',
    'memory',
  );
  assert.match(await docker.ok('run', '--rm', '-v', 'memory:/m', 'busybox', 'df', '/m'), /tmpfs +1024/);
  const wrong = await docker.run(['volume', 'create', '--opt', 'size=1g', 'wrong']);
  assert.match(wrong.stderr, /volume option "size" is not known/);
  await docker.ok('rm', 'base');
  await docker.ok('volume', 'rm', 'filled', 'bare', 'memory');
  await docker.ok('rmi', 'seeded:1');
});

test('nothing of the copies stays mounted', () => {
  assert.deepEqual(readdirSync(join(daemon.runRoot, 'views')), []);
});

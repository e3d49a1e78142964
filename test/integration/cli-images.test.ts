import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isle as call, type CallOptions, outcomeOf, spawnIsle, Terminal } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { busyboxImage, pushTo } from '../fixtures/image-builder.ts';
import { startRegistry, type TestRegistry, testUser } from '../fixtures/registry.ts';

describe('isle and images', () => {
  let daemon: TestDaemon;
  let registry: TestRegistry;
  let work: string;
  before(async () => {
    registry = await startRegistry({ htpasswd: true });
    daemon = await startDaemon({ busybox: false });
    work = mkdtempSync(join(tmpdir(), 'isle-cli-images-'));
    await pushTo(registry, 'test/app:1', busyboxImage({ 'etc/version': '1' }));
  });
  after(async () => {
    // What did not start must not keep the rest alive.
    await registry?.stop();
    await daemon?.close();
    rmSync(work, { recursive: true, force: true });
  });
  const isle = (args: string[], options: CallOptions = {}) =>
    call(daemon.host, args, { ...options, env: { DOCKER_CONFIG: work, ...options.env } });
  const ok = async (...args: string[]) => {
    const outcome = await isle(args);
    assert.equal(outcome.code, 0, `isle ${args.join(' ')}: ${outcome.stderr}`);
    return outcome.stdout.trimEnd();
  };

  test('a registry that asks who one is: refused, logged in, pulled, logged out', async () => {
    const image = `${registry.host}/test/app:1`;
    const refused = await isle(['pull', image]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /^isle: .*(unauthorized|authentication)/i);

    const wrong = await isle(['login', '-u', testUser.username, '--password-stdin', registry.host], {
      input: 'wrong',
    });
    assert.equal(wrong.code, 1);
    const right = await isle(['login', '-u', testUser.username, '--password-stdin', registry.host], {
      input: `${testUser.password}\n`,
    });
    assert.equal(right.code, 0, right.stderr);
    assert.match(right.stdout, /Login Succeeded/);
    const config = join(work, 'config.json');
    assert.equal(statSync(config).mode & 0o777, 0o600);
    const { auths } = JSON.parse(readFileSync(config, 'utf8')) as { auths: Record<string, { auth: string }> };
    assert.equal(
      Buffer.from(auths[registry.host]!.auth, 'base64').toString(),
      `${testUser.username}:${testUser.password}`,
    );

    const pulled = await ok('pull', image);
    assert.match(pulled, /Pull complete/);
    assert.match(pulled, /Digest: sha256:/);
    assert.equal(pulled.split('\n').at(-1), image);
    assert.equal(await ok('pull', '-q', image), image);
    assert.equal(await ok('run', '--rm', image, 'cat', '/etc/version'), '1');
    assert.match(await ok('logout', registry.host), /Removed login credentials/);
    assert.match(await ok('logout', registry.host), /Not logged in/);
  });

  test('the password is asked for without showing it', async () => {
    await using terminal = new Terminal(daemon.host, ['login', registry.host], {
      env: { DOCKER_CONFIG: work },
    });
    await terminal.until(/Username/);
    terminal.type(`${testUser.username}\r`);
    await terminal.until(/Password/);
    terminal.type(`${testUser.password}\r`);
    assert.equal(await terminal.code(), 0);
    assert.ok(!terminal.shown.includes(testUser.password));
    assert.match(terminal.shown, /Login Succeeded/);
  });

  test('run fetches what is missing, with progress on stderr only', async () => {
    await pushTo(registry, 'test/other:latest', busyboxImage({ 'etc/version': 'other' }));
    const { code, stdout, stderr } = await isle([
      'run',
      '--rm',
      `${registry.host}/test/other`,
      'cat',
      '/etc/version',
    ]);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'other');
    assert.match(stderr, /is not here yet, fetching it[^]*Pull complete/);
  });

  test('a terminal sees bars, and their end', async () => {
    await pushTo(registry, 'test/bars:1', busyboxImage({ big: Buffer.alloc(3_000_000, 'x') }));
    await using terminal = new Terminal(daemon.host, ['pull', `${registry.host}/test/bars:1`], {
      env: { DOCKER_CONFIG: work },
    });
    assert.equal(await terminal.code(), 0);
    assert.match(terminal.shown, /Pull complete/);
    assert.match(terminal.shown, /Status: Downloaded newer image/);
  });

  test('tag, list, push, remove', async () => {
    const source = `${registry.host}/test/app:1`;
    const target = `${registry.host}/test/copy:2`;
    await ok('tag', source, target);
    assert.match(await ok('images', '--format', '{{.Repository}}:{{.Tag}}'), new RegExp(target));
    assert.match(await ok('push', target), /digest: sha256:/);
    assert.match(await ok('rmi', target), /^Untagged: /);
    assert.match(await ok('pull', '-q', target), /copy:2/);
    assert.equal((await isle(['rmi', target, 'not-here'])).code, 1);
    assert.match(await ok('history', '--format', '{{.Size}} {{.CreatedBy}}', source), /\S/);
    const json = JSON.parse(await ok('image', 'inspect', source)) as { RepoTags: string[] }[];
    assert.ok(json[0]!.RepoTags.includes(source));
  });

  test('save and load, export and import', async () => {
    const source = `${registry.host}/test/app:1`;
    const archive = join(work, 'saved.tar');
    await ok('save', '-o', archive, source);
    await ok('rmi', '-f', source);
    assert.match(await ok('load', '-i', archive), /Loaded image: /);
    assert.equal(await ok('run', '--rm', source, 'cat', '/etc/version'), '1');
    const id = await ok('create', '--name', 'flat', source);
    await ok('export', '-o', join(work, 'root.tar'), 'flat');
    await ok('rm', id);
    assert.match(
      await ok('import', '-c', 'CMD ["cat", "/etc/version"]', join(work, 'root.tar'), 'flat:1'),
      /^sha256:/,
    );
    assert.equal(await ok('run', '--rm', 'flat:1'), '1');
    for (const args of [
      ['load', '-i', '/not/here'],
      ['load', '-i', work],
    ]) {
      const { code, stderr } = await isle(args);
      assert.equal(code, 1);
      assert.match(stderr, /^isle: [^\n]*\n$/);
    }
    const broken = await isle(['load'], { input: 'this is no archive' });
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /^isle: [^\n]*\n$/);
  });

  test('images that are not there, registries that are not there', async () => {
    const { code, stderr } = await isle(['pull', `${registry.host}/test/app:nosuch`]);
    assert.equal(code, 1);
    assert.match(stderr, /^isle: .*nosuch/);
    const down = await isle(['run', '--rm', '127.0.0.1:1/app']);
    assert.equal(down.code, 125);
    assert.match(down.stderr, /isle: .*127\.0\.0\.1:1/);
    assert.equal((await isle(['pull', 'Bad_Name:::'])).code, 1);
  });

  test('Ctrl-C during a pull ends it cleanly', async () => {
    const slow: Server = createServer((_request, response) => {
      response.writeHead(200, {
        'content-type': 'application/vnd.oci.image.manifest.v1+json',
        'content-length': '1000',
      });
      response.write('{');
    }).listen(0, '127.0.0.1');
    await once(slow, 'listening');
    const host = `127.0.0.1:${(slow.address() as AddressInfo).port}`;
    try {
      const child = spawnIsle(daemon.host, ['pull', `${host}/never:1`], { env: { DOCKER_CONFIG: work } });
      const asked = once(slow, 'request');
      const outcome = outcomeOf(child);
      await asked;
      child.kill('SIGINT');
      const { code, stderr } = await outcome;
      assert.equal(code, 130);
      assert.match(stderr, /isle: pull cancelled/);
    } finally {
      slow.closeAllConnections();
      slow.close();
    }
  });
});

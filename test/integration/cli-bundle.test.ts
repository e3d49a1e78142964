import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Outcome, outcomeOf } from '../fixtures/command-line.ts';
import { busyboxImage, pushTo } from '../fixtures/image-builder.ts';
import { leftoversOf } from '../fixtures/leftovers.ts';
import { startRegistry, type TestRegistry } from '../fixtures/registry.ts';
import { newInstance } from '../fixtures/sweep.ts';

const repository = join(import.meta.dirname, '../..');

/** What people run is the bundle through the launcher; everything else is tested from source. */
describe('the bundled isle', () => {
  const root = mkdtempSync(join(tmpdir(), 'isle-cli-bundle-'));
  // Root inside a microVM is somebody else outside, who must reach its files.
  chmodSync(root, 0o711);
  const place = { root, runRoot: join(root, 'run'), instance: newInstance('b') };
  const env = {
    PATH: process.env.PATH,
    HOME: root,
    ISLE_DATA_ROOT: join(root, 'data'),
    ISLE_RUN_ROOT: place.runRoot,
    ISLE_INSTANCE: place.instance,
  };
  let registry: TestRegistry;
  const isle = (...args: string[]): Promise<Outcome> => {
    const child = spawn(join(repository, 'isle'), args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    return outcomeOf(child);
  };
  const ok = async (...args: string[]) => {
    const outcome = await isle(...args);
    assert.equal(outcome.code, 0, `isle ${args.join(' ')}: ${outcome.stderr}`);
    return outcome.stdout.trimEnd();
  };

  before(async () => {
    const quiet = ['--disable-warning=ExperimentalWarning'];
    execFileSync(process.execPath, [...quiet, 'scripts/bundle.ts'], { cwd: repository });
    const image = join(repository, 'dist/shipped-image.tar');
    if (!existsSync(image))
      execFileSync(process.execPath, [...quiet, 'scripts/ship-image.ts', image], { cwd: repository });
    registry = await startRegistry({ tls: true });
    const config = join(root, 'config.json');
    writeFileSync(
      config,
      JSON.stringify({ images: { certificateAuthorities: { [registry.host]: registry.ca } } }),
    );
    await ok('up', '--quiet', '--config', config);
  });
  after(async () => {
    const { stderr } = await isle('down', '--purge', '--force');
    await registry?.stop();
    const left = await leftoversOf(place);
    rmSync(root, { recursive: true, force: true });
    assert.deepEqual([left, stderr], [[], '']);
  });

  test('runs the container that ships with it', async () => {
    const shown = await ok('welcome');
    assert.match(shown, /Hello from a container/);
    assert.match(shown, /made, run and removed in \d+ ms/);
    assert.equal(await ok('ps', '-aq'), '');
  });

  test('pulls over TLS from a registry of an own authority', async () => {
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    try {
      await pushTo(registry, 'app:1', busyboxImage());
    } finally {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    }
    const image = `${registry.host}/app:1`;
    assert.match(await ok('pull', image), /Pull complete/);
    assert.equal(await ok('run', '--rm', image, 'echo', 'pulled'), 'pulled');
  });

  test('each command that has a bundle of its own does all it does', async () => {
    assert.match(await ok('version'), /Engine/);
    const id = await ok('run', '-d', '--name', 'one', 'isle/hello', 'sleep', '100');
    assert.equal(await ok('ps', '-q', '--no-trunc'), id);
    assert.equal(await ok('ps', '--format', '{{.Names}}'), 'one');
    assert.equal(await ok('exec', 'one', 'echo', 'in'), 'in');
    assert.equal(await ok('rm', '-f', 'one'), 'one');
    for (const name of ['run', 'exec', 'ps', 'rm', 'version', 'cp']) {
      assert.match(await ok(name, '--help'), new RegExp(`^isle ${name}: `));
      assert.match(await ok('help', name), new RegExp(`^isle ${name}: `));
      const wrong = await isle(name, '--no-such-flag');
      assert.equal(wrong.code, 125);
      assert.match(wrong.stderr, /^isle: unknown flag: --no-such-flag\n/);
    }
    assert.match((await isle('rm', 'nosuch')).stderr, /^isle: No such container: nosuch\n$/);
    assert.equal((await isle('run', '--rm', 'isle/hello', 'nosuch')).code, 127);
  });

  test('boots a microVM, whose kernel and initramfs it prepares', async () => {
    const kernel = await ok('run', '--rm', '--runtime', 'microvm', 'isle/hello', 'uname', '-r');
    assert.match(kernel, /^\d+\.\d+/);
    assert.notEqual(kernel, release());
    assert.equal(await ok('run', '--rm', '--runtime', 'system', 'isle/hello', 'id', '-u'), '0');
  });

  test('the doctor looks at the host', async () => {
    const { stdout } = await isle('doctor', '--format', 'json');
    const findings = JSON.parse(stdout) as { name: string; status: string }[];
    assert.ok(findings.some(({ name }) => name === 'kernel'));
  });
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from './config.ts';

test('without flags the defaults are those of the documentation', async () => {
  const config = await loadConfig([]);
  assert.equal(config.dataRoot, '/var/lib/isle');
  assert.equal(config.runRoot, '/run/isle');
  assert.equal(config.dockerSocket, '/run/isle/docker.sock');
  assert.equal(config.instance, 'isle');
});

test('the socket follows the run root, and flags win over the file', async (t) => {
  const file = configFile(
    t,
    'instance: filed\nrunRoot: /tmp/filed\nimages:\n  insecureRegistries: [a:5000]\n',
  );
  const config = await loadConfig(['--config', file, '--instance', 'flagged']);
  assert.equal(config.instance, 'flagged');
  assert.equal(config.dockerSocket, '/tmp/filed/docker.sock');
  assert.deepEqual(config.images.insecureRegistries, ['a:5000']);
  assert.equal(config.images.maxConcurrentDownloads, 4);
});

test('an unknown key is refused and the nearest known one named', async (t) => {
  const file = configFile(t, '{"images": {"insecureRegistry": []}}');
  await assert.rejects(
    loadConfig(['--config', file]),
    /unknown setting "images.insecureRegistry" \(did you mean "insecureRegistries"\?\)/,
  );
});

test('a wrong type, a broken file, a missing file and a wrong flag each get one clear line', async (t) => {
  await assert.rejects(
    loadConfig(['--config', configFile(t, 'dataRoot: relative')]),
    /dataRoot must be an absolute path/,
  );
  await assert.rejects(loadConfig(['--config', configFile(t, 'a: [')]), /flow/i);
  await assert.rejects(loadConfig(['--config', '/nonexistent/isle.yaml']), /cannot be read: ENOENT/);
  await assert.rejects(
    loadConfig(['--data-rot', '/x']),
    /unknown flag --data-rot \(did you mean "--data-root"\?\)/,
  );
  await assert.rejects(loadConfig(['--log-level', 'inf']), /did you mean "info"/);
  await assert.rejects(loadConfig(['--instance', 'Not Good']), /instance "Not Good"/);
  await assert.rejects(loadConfig(['--config', configFile(t, '__proto__: {x: 1}')]), /unknown setting/);
});

function configFile(t: { after(fn: () => void): void }, text: string): string {
  const root = mkdtempSync(join(tmpdir(), 'isle-config-'));
  t.after(() => rmSync(root, { recursive: true }));
  const path = join(root, 'isle.yaml');
  writeFileSync(path, text);
  return path;
}

test('a wrong option is said without the prefix that its printer gives', async () => {
  await assert.rejects(loadConfig(['--bogus']), { message: 'unknown flag --bogus' });
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sideBySide } from '../fixtures/side-by-side.ts';

test('a microVM on a host that lost QEMU is shown with the reason, and nothing of it runs on', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-config-'));
  const config = join(directory, 'config.yaml');
  writeFileSync(config, '{}');
  try {
    await using world = await sideBySide(['--config', config]);
    const { docker, daemon } = world;
    const id = await docker.ok('run', '-d', '--name', 'vm', '--runtime', 'microvm', 'app', 'sleep', '1000');
    assert.notDeepEqual(world.processesOf(id), []);
    await daemon.kill9();
    writeFileSync(config, 'microvm: { qemu: /nonexistent/qemu }');
    await daemon.start();
    assert.match(
      await world.inspect('vm', '{{.State.Status}} {{.State.Error}}'),
      /^exited its runtime microvm is not available any more: QEMU is not installed/,
    );
    await world.until('nothing of it runs', async () => world.processesOf(id).length === 0);
    const refused = await docker.run(['start', 'vm']);
    assert.match(refused.stderr, /the runtime microvm is not available: QEMU is not installed/);
    assert.match(await docker.ok('diff', 'vm'), /^$/);
    assert.match(await docker.ok('info'), /Runtimes: .*system/);
    assert.match(await world.isleOk('info'), /no microvm: QEMU is not installed/);
    await docker.ok('rm', 'vm');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

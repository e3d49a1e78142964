import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { callApi } from '../../../test/fixtures/docker-api.ts';
import { fakeEngine } from '../../../test/fixtures/fake-engine.ts';
import { silentLog } from '../../lib/log.ts';
import { createServer } from '../http/server.ts';

test('the host, the probe and what a container takes are told in the words of the API', async () => {
  const fake = await fakeEngine();
  const directory = await mkdtemp(join(tmpdir(), 'isle-api-'));
  const socket = join(directory, 'docker.sock');
  const config = { version: '0.0.0', dataRoot: directory };
  const server = await createServer({ engine: fake.engine, config, log: silentLog() });
  await server.listen(socket);
  const call = async (path: string, method = 'GET', body?: object) =>
    await callApi(socket, { method, path, body });
  try {
    const host = (await call('/isle/v1/host')).json<Record<string, unknown>>();
    assert.deepEqual(Object.keys(host), [
      'Kernel',
      'BootId',
      'Namespaces',
      'SecurityModules',
      'Cpu',
      'Kvm',
      'Load',
    ]);
    const probe = await call('/isle/v1/probe');
    assert.match(probe.text, /^\x7fELF/); // oxlint-disable-line no-control-regex
    assert.equal((await call('/isle/v1/containers/nobody/footprint')).status, 404);
    const created = await call('/containers/create?name=idle', 'POST', {
      Image: 'busybox',
      Cmd: ['sleep', '1'],
    });
    assert.equal(created.status, 201, created.text);
    assert.equal((await call('/isle/v1/containers/idle/footprint')).status, 409);
  } finally {
    await server.close();
    await fake.close();
    await rm(directory, { recursive: true });
  }
});

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { callApi } from '../../../../test/fixtures/docker-api.ts';
import { serveMachines } from '../../../../test/fixtures/fake-machines.ts';
import { diskRequest, machineRequest } from '../../../../test/fixtures/machine-request.ts';
import { fileAppliances } from '../../../images/appliances/file-appliances.ts';

test('imports and exports answer with a stream, and with a status for what is wrong at once', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'isle-api-'));
  const socket = join(directory, 'docker.sock');
  const { fake, close } = await serveMachines(socket, { appliances: fileAppliances() });
  t.after(async () => {
    await close();
    await rm(directory, { recursive: true });
  });
  const post = (path: string, body: object) =>
    callApi(socket, { method: 'POST', path: `/isle/v1/machines${path}`, body });
  const wrong: [string, object, number, RegExp][] = [
    ['/import', {}, 400, /Path/],
    ['/import', { Path: 'disk.ova' }, 400, /absolute path/],
    ['/import', { Path: '/nowhere/disk.ova' }, 400, /no such file/],
    ['/import', { Path: directory }, 400, /is a directory/],
    ['/import', { Path: '/x', Hint: 'floppy' }, 400, /Hint/],
    ['/import', { Path: '/x', Hint: 'constructor' }, 400, /Hint/],
    ['/import', { Path: '/x', Name: '../x' }, 400, /name/],
    ['/import', { Path: '/x', Shell: 'x' }, 400, /shell/],
    ['/import', { Path: '/x\0y' }, 400, /NUL/],
    ['/web/export', { Path: '/tmp/x', Format: 'ova' }, 404, /web/],
  ];
  for (const [path, body, status, message] of wrong) {
    const answer = await post(path, body);
    assert.deepEqual([answer.status, message.test(answer.text)], [status, true], answer.text);
  }
  const disk = join(directory, 'web.img');
  await writeFile(disk, Buffer.alloc(1024 * 1024, 1));
  const answer = await post('/import', { Path: disk });
  assert.equal(answer.status, 200);
  const lines = answer.text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, { Id?: string; What?: string }>);
  assert.equal(lines[0]?.progress?.What, 'sda');
  assert.match(lines.at(-1)?.result?.Id ?? '', /^[0-9a-f]{64}$/);
  assert.equal(fake.engine.machines.get('web').spec.machine.origin, 'disk: web.img');
  for (const [body, status, message] of [
    [{ Path: 'web.ova', Format: 'ova' }, 400, /absolute/],
    [{ Path: '/tmp/x', Format: 'zip' }, 400, /Format/],
    [{ Path: disk, Format: 'raw' }, 409, /there already/],
  ] as const) {
    const refused = await post('/web/export', body);
    assert.deepEqual([refused.status, message.test(refused.text)], [status, true], refused.text);
  }
  const file = join(directory, 'own.raw');
  await writeFile(file, Buffer.alloc(1024 * 1024));
  await fake.engine.machines.create(
    'own',
    machineRequest({}, [diskRequest({ kind: 'file', path: file, format: 'raw' })]),
  );
  const own = await post('/own/export', { Path: join(directory, 'own.ova'), Format: 'ova' });
  assert.deepEqual([own.status, /your own file/.test(own.text)], [409, true], own.text);
});

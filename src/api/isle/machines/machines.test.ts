import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { callApi } from '../../../../test/fixtures/docker-api.ts';
import type { FakeEngine } from '../../../../test/fixtures/fake-engine.ts';
import { serveMachines } from '../../../../test/fixtures/fake-machines.ts';

const mebibyte = 1024 * 1024;

interface Api {
  fake: FakeEngine;
  call(
    method: string,
    path: string,
    body?: object,
  ): Promise<{ status: number; text: string; json: <T = Record<string, never>>() => T }>;
}

async function apiFor(t: { after(fn: () => Promise<void>): void }): Promise<Api> {
  const directory = await mkdtemp(join(tmpdir(), 'isle-api-'));
  const socket = join(directory, 'docker.sock');
  const { fake, close } = await serveMachines(socket);
  t.after(async () => {
    await close();
    await rm(directory, { recursive: true });
  });
  return { fake, call: (method, path, body) => callApi(socket, { method, path, body }) };
}

const web = {
  Name: 'web',
  Container: { HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '8080' }] } } },
  Hardware: { Arch: 'x86_64', Memory: 256 * mebibyte, Vcpus: 2, OsVariant: 'debian12' },
  Disks: [{ Source: { Kind: 'empty', Size: 10 * mebibyte } }],
};

test('a machine lives over HTTP: create, list, start, ps, logs, stop, rm', async (t) => {
  const { call } = await apiFor(t);
  const created = await call('POST', '/isle/v1/machines', web);
  assert.equal(created.status, 201, created.text);
  const { Id } = created.json<{ Id: string; Warnings: string[] }>();
  assert.equal((await call('POST', '/containers/web/start')).status, 204);
  const [summary] = (await call('GET', '/isle/v1/machines')).json<Record<string, unknown>[]>();
  assert.deepEqual(
    [summary?.Name, summary?.State, summary?.Memory, summary?.Vcpus, summary?.OsVariant, summary?.Disks],
    ['web', 'running', 256 * mebibyte, 2, 'debian12', 1],
  );
  const [shown] = (await call('GET', '/containers/json')).json<Record<string, unknown>[]>();
  assert.deepEqual(
    [shown?.Image, shown?.Command, shown?.State],
    ['debian12', 'q35, 2 CPUs, 256 MiB', 'running'],
  );
  const detail = (await call('GET', '/isle/v1/machines/web')).json<Record<string, unknown>>();
  assert.deepEqual((detail.Running as { Accelerator: string }).Accelerator, 'tcg');
  assert.equal((detail.Hardware as { Type: string }).Type, 'q35');
  const disks = (await call('GET', '/isle/v1/machines/web/disks')).json<Record<string, unknown>[]>();
  assert.deepEqual([disks[0]?.Target, disks[0]?.Disk, disks[0]?.Size], ['vda', 'web-vda', 10 * mebibyte]);
  const logs = await call('GET', '/containers/web/logs?stdout=1');
  assert.match(logs.text, /login:/);
  assert.equal((await call('POST', '/containers/web/stop')).status, 204);
  const { State } = (await call('GET', '/containers/web/json')).json<{ State: Record<string, unknown> }>();
  assert.deepEqual([State.Status, State.ExitCode], ['exited', 0]);
  assert.equal((await call('DELETE', '/isle/v1/machines/web?disks=1')).status, 204);
  assert.equal((await call('GET', `/isle/v1/machines/${Id}`)).status, 404);
});

test('power, edit and what is wrong with them', async (t) => {
  const { call, fake } = await apiFor(t);
  await call('POST', '/isle/v1/machines', web);
  assert.equal((await call('POST', '/isle/v1/machines/web/reboot')).status, 409);
  await call('POST', '/containers/web/start');
  for (const action of ['reboot', 'reset', 'shutdown'])
    assert.equal((await call('POST', `/isle/v1/machines/web/${action}`)).status, 204, action);
  await fake.engine.containers.wait('web', 'not-running', new AbortController().signal).exit;
  const edited = await call('PUT', '/isle/v1/machines/web/hardware', { Vcpus: 4, Remove: ['OsVariant'] });
  assert.deepEqual(edited.json(), { AtNextStart: [] });
  const { Hardware } = (await call('GET', '/isle/v1/machines/web')).json<{
    Hardware: Record<string, unknown>;
  }>();
  assert.deepEqual([Hardware.Vcpus, Hardware.OsVariant], [4, undefined]);
  const { Networks } = (await call('GET', '/isle/v1/machines/web')).json<{
    Networks: { Network: string }[];
  }>();
  assert.deepEqual(
    Networks.map(({ Network }) => Network),
    ['bridge'],
    'its cards are shown while it is off, too',
  );
  await call('POST', '/containers/web/start');
  const running = await call('PUT', '/isle/v1/machines/web/hardware', { Vcpus: 2, Description: 'x' });
  assert.deepEqual(running.json(), { AtNextStart: ['Vcpus'] });
  assert.match(
    (await call('PUT', '/isle/v1/machines/web/hardware', { Vcpu: 2 })).text,
    /did you mean \\"Vcpus\\"/,
  );
  assert.match(
    (await call('PUT', '/isle/v1/machines/web/hardware', { Arch: 'aarch64' })).text,
    /cannot change/,
  );
});

test('what is no machine is refused with the field', async (t) => {
  const { call } = await apiFor(t);
  const wrong: [object, RegExp][] = [
    [{}, /Hardware\.Memory: the memory of the machine is missing/],
    [{ ...web, Hardware: { Memory: 1 } }, /memory must be whole MiB/],
    [{ ...web, Name: '../web' }, /Invalid container name/],
    [{ ...web, Name: '-cpu' }, /Invalid container name/],
    [{ ...web, Container: { Image: 'busybox' } }, /boots from its disks/],
    [{ ...web, Container: { Cmd: ['sh'] } }, /cannot take a command/],
    [{ ...web, Container: { HostConfig: { Memory: 1e9 } } }, /isle vm setmem/],
    [{ ...web, Container: { HostConfig: { Binds: ['/a:/b'] } } }, /--filesystem/],
    [{ ...web, Container: { HostConfig: { NetworkMode: 'host' } } }, /--network host shares a namespace/],
    [{ ...web, Disks: [{}] }, /Disks\[0\]\.Source/],
    [{ ...web, Disks: [{ Source: { Kind: 'empty' } }] }, /an empty disk needs one/],
    [{ ...web, Disks: [{ Source: { Kind: 'import', Path: '/x' } }] }, /Format/],
    [{ ...web, Disks: [{ Source: { Kind: 'file', Path: '/x', Format: 'vmdk' } }] }, /none of qcow2, raw/],
    [{ ...web, Disks: [{ Source: { Kind: 'file', Path: '/not/there', Format: 'raw' } }] }, /no such file/],
  ];
  for (const [body, message] of wrong) {
    const answer = await call('POST', '/isle/v1/machines', body);
    assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${answer.text}`);
    assert.match(answer.text, message);
  }
  assert.deepEqual((await call('GET', '/isle/v1/machines')).json(), []);
});

test('disks that are imported tell how far they are; what fails before that has a status', async (t) => {
  const { call } = await apiFor(t);
  const directory = await mkdtemp(join(tmpdir(), 'isle-api-'));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, 'disk.raw');
  await writeFile(path, Buffer.alloc(4096));
  const disks = (Path: string) => [{ Source: { Kind: 'import', Path, Format: 'raw', Size: mebibyte } }];
  const made = await call('POST', '/isle/v1/machines?stream=1', { ...web, Disks: disks(path) });
  const lines = made.text
    .trim()
    .split(/\r?\n/)
    .map((line) => JSON.parse(line));
  assert.deepEqual(lines.slice(0, -1), [
    { progress: { What: 'vda', Done: 0, Total: 4096 } },
    { progress: { What: 'vda', Done: 4096, Total: 4096 } },
  ]);
  assert.deepEqual(Object.keys(lines.at(-1).result), ['Id', 'Warnings']);
  const missing = await call('POST', '/isle/v1/machines?stream=1', {
    ...web,
    Name: 'b2',
    Disks: disks('/no'),
  });
  assert.equal(missing.status, 400, missing.text);
  const taken = await call('POST', '/isle/v1/machines?stream=1', { ...web, Disks: disks(path) });
  assert.equal(taken.status, 409, taken.text);
});

test('a container is not a machine, and the other way round', async (t) => {
  const { call } = await apiFor(t);
  await call('POST', '/containers/create?name=box', { Image: 'busybox', Cmd: ['sleep', '1'] });
  const missing = await call('GET', '/isle/v1/machines/box');
  assert.deepEqual([missing.status, /it is a container/.test(missing.text)], [404, true]);
  const body = { Image: 'debian', HostConfig: { Runtime: 'machine' } };
  const refused = await call('POST', '/containers/create', body);
  assert.deepEqual([refused.status, /isle vm create/.test(refused.text)], [400, true]);
});

test('hardware changes over HTTP while a machine runs, and the store shows its disks', async (t) => {
  const { call } = await apiFor(t);
  const cdroms = { ...web, Hardware: { ...web.Hardware, Cdroms: [{ Target: 'sda' }], MaxVcpus: 4 } };
  assert.equal((await call('POST', '/isle/v1/machines', cdroms)).status, 201);
  await call('POST', '/containers/web/start');
  const one = '/isle/v1/machines/web';
  const attached = await call('POST', `${one}/disks`, { Source: { Kind: 'empty', Size: mebibyte } });
  assert.deepEqual([attached.status, attached.json()], [201, { Target: 'vdb' }]);
  const streamed = await call('POST', `${one}/disks?stream=1`, { Source: { Kind: 'empty', Size: mebibyte } });
  assert.deepEqual(streamed.json(), { result: { Target: 'vdc' } });
  for (const [path, body] of [
    ['disks/vdb/size', { Size: 2 * mebibyte }],
    ['disks/vdb/limits', { WriteIops: 100 }],
    ['cdroms/sda', {}],
    ['vcpus', { Count: 4 }],
    ['memory', { Bytes: 128 * mebibyte }],
  ] as const) {
    const answer = await call('PUT', `${one}/${path}`, body);
    assert.equal(answer.status, 204, `${path}: ${answer.text}`);
  }
  const shown = (await call('GET', one)).json<{ Hardware: { Vcpus: number; Memory: number } }>();
  assert.deepEqual([shown.Hardware.Vcpus, shown.Hardware.Memory], [4, 128 * mebibyte]);
  for (const [path, body] of [
    ['disks/vdb/size', {}],
    ['disks/vdb/size', { Size: '1' }],
    ['disks/vdb/size', { Size: 1, Other: 2 }],
    ['disks/vdz/size', { Size: 1 }],
    ['disks/vdb/limits', { Fast: true }],
    ['cdroms/vda', { Path: '/etc/passwd' }],
    ['cdroms/sda', { Path: '/dev/null' }],
    ['vcpus', { Count: 0 }],
    ['memory', { Bytes: -1 }],
  ] as const)
    assert.equal((await call('PUT', `${one}/${path}`, body)).status, 400, JSON.stringify([path, body]));
  assert.equal((await call('DELETE', `${one}/disks/vdb?remove=1`)).status, 204);
  assert.equal((await call('DELETE', `${one}/disks/vdc`)).status, 204);
  const stored = (await call('GET', '/isle/v1/disks')).json<{ Id: string; Machine?: string }[]>();
  assert.deepEqual(
    stored.map(({ Id, Machine }) => [Id, Machine]),
    [
      ['web-vda', 'web'],
      ['web-vdc', undefined],
    ],
  );
  assert.equal((await call('DELETE', '/isle/v1/disks/web-vda')).status, 409);
  assert.equal((await call('PUT', '/isle/v1/disks/web-vdc/size', { Size: 4 * mebibyte })).status, 204);
  assert.equal((await call('DELETE', '/isle/v1/disks/web-vdc')).status, 204);
  assert.equal((await call('DELETE', '/isle/v1/disks/web-vdc')).status, 404);
});

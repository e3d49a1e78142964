import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { callApi, CheckedApi } from '../../../test/fixtures/docker-api.ts';
import { type FakeEngine, fakeEngine } from '../../../test/fixtures/fake-engine.ts';
import { silentLog } from '../../lib/log.ts';
import { type ApiServer, createServer } from '../http/server.ts';
import { dockerRoutes } from './routes.ts';
import { unsupported } from './unsupported.ts';

let fake: FakeEngine;
let server: ApiServer;
let directory: string;
let api: CheckedApi;

before(async () => {
  fake = await fakeEngine();
  directory = await mkdtemp(join(tmpdir(), 'isle-api-'));
  const socket = join(directory, 'docker.sock');
  server = await createServer({
    engine: fake.engine,
    config: { version: '0.0.0', dataRoot: directory },
    log: silentLog(),
  });
  await server.listen(socket);
  api = new CheckedApi(socket);
});

after(async () => {
  await server.close();
  await fake.close();
  await rm(directory, { recursive: true });
});

async function create(name: string, body: object = {}): Promise<string> {
  const answer = await api.call('POST /containers/create', `/containers/create?name=${name}`, {
    body: { Image: 'busybox', Cmd: ['sleep', '1000'], ...body },
  });
  assert.equal(answer.status, 201, answer.text);
  return answer.json<{ Id: string }>().Id;
}

test('ping, version, info, df and events answer as the specification says', async () => {
  const ping = await api.call('GET /_ping', '/_ping');
  assert.equal(ping.text, 'OK');
  assert.equal(ping.headers['api-version'], '1.51');
  const head = await api.call('HEAD /_ping', '/_ping');
  assert.equal(head.headers['api-version'], '1.51');
  await api.call('GET /version', '/version');
  await api.call('GET /info', '/info');
  const now = Date.now() / 1000;
  const events = await api.call('GET /events', `/events?since=${now - 3600}&until=${now}`);
  assert.equal(events.status, 200);
});

test('a container from create to remove', async () => {
  const id = await create('full', {
    Env: ['A=b'],
    Labels: { a: 'b' },
    ExposedPorts: { '80/tcp': {} },
    Healthcheck: { Test: ['CMD', 'true'], Interval: 1_000_000_000 },
    StopTimeout: 3,
    Volumes: { '/data': {} },
    HostConfig: {
      Binds: ['/tmp:/host:ro'],
      Tmpfs: { '/run': 'size=64k' },
      Mounts: [{ Type: 'volume', Source: 'named', Target: '/named', VolumeOptions: { NoCopy: true } }],
      PortBindings: { '80/tcp': [{ HostPort: '8080' }] },
      Memory: 64 * 1024 * 1024,
      NanoCpus: 500_000_000,
      CapAdd: ['net_admin'],
      Ulimits: [{ Name: 'nofile', Soft: 100, Hard: 200 }],
      Devices: [{ PathOnHost: '/dev/null', PathInContainer: '/dev/null', CgroupPermissions: 'rwm' }],
      BlkioWeightDevice: [],
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 },
    },
    NetworkingConfig: { EndpointsConfig: { bridge: { Aliases: ['web'] } } },
  });
  const path = (rest: string) => `/containers/full${rest}`;
  const inspected = (await api.call('GET /containers/{id}/json', path('/json?size=1'))).json<{
    HostConfig: { Binds: string[]; CapAdd: string[]; PortBindings: object };
    Config: { Volumes: object };
  }>();
  assert.deepEqual(inspected.HostConfig.Binds, ['/tmp:/host:ro']);
  assert.deepEqual(inspected.HostConfig.CapAdd, ['CAP_NET_ADMIN']);
  assert.deepEqual(inspected.HostConfig.PortBindings, { '80/tcp': [{ HostIp: '', HostPort: '8080' }] });
  assert.deepEqual(inspected.Config.Volumes, { '/data': {} });
  assert.equal((await api.call('POST /containers/{id}/start', path('/start'))).status, 204);
  assert.equal((await api.call('POST /containers/{id}/start', path('/start'))).status, 304);
  const list = (await api.call('GET /containers/json', '/containers/json?size=1')).json<{ Id: string }[]>();
  assert.deepEqual(
    list.map((entry) => entry.Id),
    [id],
  );
  await api.call('GET /containers/{id}/stats', path('/stats?stream=false&one-shot=true'));
  await api.call('GET /containers/{id}/logs', path('/logs?stdout=1'));
  await api.call('POST /containers/{id}/pause', path('/pause'));
  await api.call('POST /containers/{id}/unpause', path('/unpause'));
  await api.call('POST /containers/{id}/resize', path('/resize?h=10&w=20'));
  await api.call('POST /containers/{id}/update', path('/update'), { body: { Memory: 128 * 1024 * 1024 } });
  await api.call('POST /containers/{id}/rename', path('/rename?name=renamed'));
  await api.call('POST /containers/{id}/rename', '/containers/renamed/rename?name=full');
  await api.call('GET /system/df', '/system/df?type=container&type=volume');
  const exec = await api.call('POST /containers/{id}/exec', path('/exec'), {
    body: { Cmd: ['true'], AttachStdout: true },
  });
  const execId = exec.json<{ Id: string }>().Id;
  await api.call('POST /exec/{id}/start', `/exec/${execId}/start`, { body: { Detach: true } });
  await api.call('GET /exec/{id}/json', `/exec/${execId}/json`);
  await api.call('POST /containers/{id}/kill', path('/kill?signal=SIGKILL'));
  await api.call('POST /containers/{id}/wait', path('/wait'));
  await api.call('POST /containers/{id}/restart', path('/restart?t=0'));
  assert.equal((await api.call('POST /containers/{id}/stop', path('/stop?t=0'))).status, 204);
  assert.equal((await api.call('POST /containers/{id}/stop', path('/stop?t=0'))).status, 304);
  assert.equal((await api.call('DELETE /containers/{id}', path('?v=1'))).status, 204);
  assert.equal((await api.call('GET /containers/{id}/json', path('/json'))).status, 404);
});

test('an update that names no restart policy leaves the one there is', async () => {
  const created = await api.call('POST /containers/create', '/containers/create?name=kept', {
    body: { Image: 'busybox', HostConfig: { RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } } },
  });
  const path = `/containers/${created.json<{ Id: string }>().Id}`;
  const restart = async (asked: object) => {
    await api.call('POST /containers/{id}/update', `${path}/update`, { body: { RestartPolicy: asked } });
    const shown = await api.call('GET /containers/{id}/json', `${path}/json`);
    return shown.json<{ HostConfig: { RestartPolicy: { Name: string } } }>().HostConfig.RestartPolicy.Name;
  };
  // What `docker update --memory` sends.
  assert.equal(await restart({ Name: '', MaximumRetryCount: 0 }), 'always');
  assert.equal(await restart({ Name: 'no' }), 'no');
  await api.call('DELETE /containers/{id}', path);
});

test('whatever a container was asked to be, it is shown as the specification says', async () => {
  const unusual: object[] = [
    {
      Privileged: true,
      NetworkMode: 'host',
      PidMode: 'host',
      IpcMode: 'host',
      UTSMode: 'host',
      CgroupnsMode: 'host',
    },
    {
      NetworkMode: 'none',
      Init: true,
      ReadonlyRootfs: true,
      ShmSize: 1024,
      OomScoreAdj: 10,
      Sysctls: { a: 'b' },
    },
    {
      MaskedPaths: [],
      ReadonlyPaths: [],
      SecurityOpt: ['no-new-privileges'],
      GroupAdd: ['1'],
      Annotations: { a: 'b' },
    },
    {
      MemorySwappiness: 0,
      PidsLimit: 10,
      CpuQuota: 50_000,
      CpuPeriod: 100_000,
      CpusetCpus: '0',
      BlkioWeight: 100,
    },
    {
      BlkioDeviceReadBps: [{ Path: '/dev/null', Rate: 1 }],
      BlkioWeightDevice: [{ Path: '/dev/null', Weight: 10 }],
    },
    {
      LogConfig: { Type: 'none' },
      PublishAllPorts: true,
      ExtraHosts: ['a:1.2.3.4'],
      Dns: ['1.1.1.1'],
      DnsSearch: ['x'],
    },
    {
      RestartPolicy: { Name: 'always' },
      ConsoleSize: [10, 20],
      VolumesFrom: [],
      CapDrop: ['ALL'],
      CgroupParent: '/x',
    },
    { Mounts: [{ Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1024, Options: [['noexec']] } }] },
    {
      DeviceCgroupRules: ['c 1:3 rwm'],
      Devices: [{ PathOnHost: '/dev/null' }],
      PortBindings: { '1/udp': null },
    },
  ];
  for (const [index, HostConfig] of unusual.entries()) {
    const name = `unusual${index}`;
    const id = await create(name, { Tty: true, Entrypoint: ['sleep'], Cmd: ['1000'], HostConfig });
    await api.call('GET /containers/{id}/json', `/containers/${id}/json`);
    await api.call('POST /containers/{id}/start', `/containers/${id}/start`);
    await api.call('GET /containers/{id}/json', `/containers/${id}/json`);
    await api.call('GET /containers/json', '/containers/json?all=1');
    await api.call('POST /containers/{id}/kill', `/containers/${id}/kill`);
    await api.call('GET /containers/{id}/json', `/containers/${id}/json`);
    await api.call('DELETE /containers/{id}', `/containers/${id}?force=1`);
  }
});

test('older clients get the shapes of their version', async () => {
  await create('old', { MacAddress: '02:42:ac:11:00:09' });
  const get = async <T>(path: string) => (await callApi(api.socketPath, { path })).json<T>();
  type Shape = { Config: { MacAddress?: string } };
  assert.equal((await get<Shape>('/v1.43/containers/old/json')).Config.MacAddress, '02:42:ac:11:00:09');
  assert.equal((await get<Shape>('/v1.44/containers/old/json')).Config.MacAddress, undefined);
  assert.equal((await get<{ VirtualSize?: number }[]>('/v1.43/images/json'))[0]?.VirtualSize, 1000);
  assert.equal((await get<{ VirtualSize?: number }[]>('/v1.44/images/json'))[0]?.VirtualSize, undefined);
  await api.call('DELETE /containers/{id}', '/containers/old');
});

test('networks and volumes', async () => {
  await api.call('GET /networks', '/networks');
  await api.call('GET /networks/{id}', '/networks/bridge');
  await api.call('POST /volumes/create', '/volumes/create', { body: { Name: 'vol', Labels: { a: 'b' } } });
  await api.call('GET /volumes', '/volumes?filters={"label":["a=b"]}');
  await api.call('GET /volumes/{name}', '/volumes/vol');
  await api.call('POST /volumes/prune', '/volumes/prune');
  await api.call('DELETE /volumes/{name}', '/volumes/vol');
});

test('images', async () => {
  await api.call('GET /images/json', '/images/json');
  await api.call('GET /images/{name}/json', '/images/busybox/json');
  assert.equal((await api.call('GET /images/{name}/json', '/images/a/b/c:d/json')).status, 404);
});

test('what is asked wrongly is refused with a message and the right status', async () => {
  const cases: [string, string, object | undefined, number, RegExp][] = [
    ['POST /containers/create', '/containers/create', {}, 400, /no image specified/],
    ['POST /containers/create', '/containers/create', { Image: 'nope' }, 404, /No such image: nope/],
    [
      'POST /containers/create',
      '/containers/create?name=-',
      { Image: 'busybox' },
      400,
      /Invalid container name/,
    ],
    ['POST /containers/create', '/containers/create', { Image: 1 }, 400, /Image must be a text, not number/],
    [
      'POST /containers/create',
      '/containers/create',
      { Image: 'busybox', HostConfig: { PidMode: 'container:nope' } },
      400,
      /No such container: nope/,
    ],
    ['POST /containers/{id}/start', '/containers/nope/start', undefined, 404, /No such container: nope/],
    ['GET /containers/json', '/containers/json?filters={"a":["b"]}', undefined, 400, /invalid filter 'a'/],
    ['GET /containers/json', '/containers/json?filters=[', undefined, 400, /not JSON/],
    ['GET /containers/json', '/containers/json?limit=x', undefined, 400, /limit: "x" is not a whole number/],
  ];
  for (const [operation, path, body, status, message] of cases) {
    const answer = await api.call(operation, path, { body });
    assert.equal(answer.status, status, `${path}: ${answer.text}`);
    assert.match(answer.json<{ message: string }>().message, message);
  }
});

test('each route of the specification is served, or says by its name that it is not', async () => {
  for (const operation of api.schema.operations) {
    const [method = '', path = ''] = operation.split(' ');
    const mine = unsupported.includes(
      `${method} ${path.replace(/\{(\w+)\}/g, ':$1')}` as (typeof unsupported)[number],
    );
    if (!mine) continue;
    const answer = await api.call(operation, path.replace(/\{\w+\}/g, 'a'));
    assert.equal(answer.status, 501);
    assert.equal(answer.json<{ message: string }>().message, `${operation} is not supported by Isle`);
  }
  const served = dockerRoutes(fake.engine, { version: '', dataRoot: '' }).map(
    (route) => `${route.method} ${route.path.replace(/:(\w+)/g, '{$1}')}`,
  );
  assert.deepEqual(served.toSorted(), api.schema.operations.toSorted());
});

test('fields that Isle does not serve are named, not ignored', async () => {
  const fields: [object, RegExp][] = [
    [{ DeviceRequests: [{ Count: -1, Capabilities: [['gpu']] }] }, /HostConfig.DeviceRequests/],
    [{ Isolation: 'hyperv' }, /Isolation "hyperv"/],
    [{ UsernsMode: 'keep-id' }, /invalid user namespace mode "keep-id"/],
    [{ CpuCount: 1 }, /HostConfig.CpuCount/],
    [{ Mounts: [{ Type: 'npipe', Source: 'x', Target: '/x' }] }, /mount of type "npipe"/],
    [{ VolumeDriver: 'nfs' }, /volume driver "nfs"/],
    [{ StorageOpt: { size: '1G' } }, /storage option "size"/],
  ];
  for (const [HostConfig, message] of fields) {
    const answer = await api.call('POST /containers/create', '/containers/create', {
      body: { Image: 'busybox', HostConfig },
    });
    assert.ok(answer.status === 501 || answer.status === 400, answer.text);
    assert.match(answer.json<{ message: string }>().message, message);
  }
});

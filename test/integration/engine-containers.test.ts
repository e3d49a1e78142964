import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';

let daemon: TestDaemon;

before(async () => {
  daemon = await startDaemon();
});

after(async () => {
  await daemon.close();
});

type Json = Record<string, unknown>;

const create = (name: string, body: Json) =>
  daemon.call('POST', `/containers/create?name=${name}`, { Image: 'busybox', ...body });

/** Runs to the end and returns exit code and output. */
async function run(
  command: string,
  host: Json = {},
  more: Json = {},
): Promise<{ code: number; output: string }> {
  const body = { Image: 'busybox', Cmd: ['sh', '-c', command], HostConfig: host, ...more };
  const { Id } = (await daemon.ok('POST', '/containers/create', body)).json<{ Id: string }>();
  try {
    const waiting = daemon.ok('POST', `/containers/${Id}/wait?condition=next-exit`);
    waiting.catch(() => {});
    await daemon.ok('POST', `/containers/${Id}/start`);
    const code = (await waiting).json<{ StatusCode: number }>().StatusCode;
    const { text } = await daemon.ok('GET', `/containers/${Id}/logs?stdout=1&stderr=1`);
    // oxlint-disable-next-line no-control-regex
    return { code, output: text.replace(/[\x00-\x02]\x00\x00\x00.{4}/gs, '') };
  } finally {
    await daemon.call('DELETE', `/containers/${Id}?force=1&v=1`);
  }
}

test('of parallel creates and removals of one name each gets what it asked for or a clear conflict', async () => {
  for (let round = 0; round < 5; round++) {
    const created = await Promise.all(
      Array.from({ length: 6 }, () => create('contested', { Cmd: ['true'] })),
    );
    assert.deepEqual(
      created.map(({ status }) => status).sort((a, b) => a - b),
      [201, 409, 409, 409, 409, 409],
    );
    const removed = await Promise.all(
      Array.from({ length: 4 }, () => daemon.call('DELETE', '/containers/contested?force=1')),
    );
    const codes = removed.map(({ status }) => status);
    assert.equal(codes.filter((status) => status === 204).length, 1);
    assert.ok(
      codes.every((status) => [204, 404, 409].includes(status)),
      codes.join(),
    );
  }
});

test('twenty containers started at once all run and all go', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `many${index}`);
  await Promise.all(
    names.map(async (name) => {
      await create(name, { Cmd: ['sleep', '1000'] });
      await daemon.ok('POST', `/containers/${name}/start`);
    }),
  );
  const running = (await daemon.ok('GET', '/containers/json')).json<unknown[]>();
  assert.equal(running.length, 20);
  await Promise.all(names.map((name) => daemon.ok('DELETE', `/containers/${name}?force=1`)));
  assert.equal((await daemon.ok('GET', '/containers/json?all=1')).json<unknown[]>().length, 0);
});

test('a stop that waits keeps neither inspect nor kill away', async () => {
  await create('stubborn', { Cmd: ['sh', '-c', 'trap "" TERM; sleep 1000 & wait; sleep 1000'] });
  await daemon.ok('POST', '/containers/stubborn/start');
  await sleep(200);
  const stopping = daemon.ok('POST', '/containers/stubborn/stop?t=60');
  await sleep(100);
  const started = performance.now();
  await daemon.ok('GET', '/containers/stubborn/json');
  await daemon.ok('POST', '/containers/stubborn/kill');
  assert.equal((await stopping).status, 204);
  assert.ok(performance.now() - started < 5000);
  await daemon.ok('DELETE', '/containers/stubborn');
});

test('out of memory: the flag is set and the event comes before die', async () => {
  const since = Math.floor(Date.now() / 1000);
  const memory = 16 * 1024 * 1024;
  await create('hungry', {
    Cmd: ['sh', '-c', 'dd if=/dev/zero of=/dev/null bs=200M count=1'],
    HostConfig: { Memory: memory, MemorySwap: memory },
  });
  const waiting = daemon.ok('POST', '/containers/hungry/wait?condition=next-exit');
  await daemon.ok('POST', '/containers/hungry/start');
  assert.notEqual((await waiting).json<{ StatusCode: number }>().StatusCode, 0);
  const { State } = (await daemon.ok('GET', '/containers/hungry/json')).json<{
    State: { OOMKilled: boolean };
  }>();
  assert.equal(State.OOMKilled, true);
  const until = Math.ceil(Date.now() / 1000) + 1;
  const filters = encodeURIComponent(JSON.stringify({ container: ['hungry'] }));
  const { text } = await daemon.ok('GET', `/events?since=${since}&until=${until}&filters=${filters}`);
  const actions = text
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { Action: string }).Action);
  assert.ok(actions.includes('oom'), actions.join());
  assert.ok(actions.indexOf('oom') < actions.indexOf('die'), actions.join());
  await daemon.ok('DELETE', '/containers/hungry');
});

test('a volume is filled from the image, shared by --volumes-from, and protected while in use', async () => {
  await create('owner', {
    Cmd: ['true'],
    HostConfig: { Binds: ['named:/etc'] },
    Volumes: { '/scratch': {} },
  });
  const { output } = await run('ls /etc; ls -d /scratch', { VolumesFrom: ['owner'] });
  assert.match(output, /passwd/);
  assert.match(output, /\/scratch/);
  const refused = await daemon.call('DELETE', '/volumes/named');
  assert.equal(refused.status, 409);
  assert.match(refused.text, /volume is in use/);
  await daemon.ok('DELETE', '/containers/owner?v=1');
  const { Volumes } = (await daemon.ok('GET', '/volumes')).json<{ Volumes: { Name: string }[] }>();
  assert.deepEqual(
    Volumes.map(({ Name }) => Name),
    ['named'],
    'the anonymous one went with its container',
  );
  await daemon.ok('DELETE', '/volumes/named');
  assert.deepEqual(
    readdirSync(join(daemon.dataRoot, 'volumes')).filter((name) => !name.startsWith('.')),
    [],
  );
});

test('namespaces of another container: network, processes, and a clear word when it is down', async () => {
  await create('base', { Cmd: ['sleep', '1000'] });
  const down = await create('early', { Cmd: ['true'], HostConfig: { NetworkMode: 'container:base' } });
  assert.equal(down.status, 201);
  const refused = await daemon.call('POST', '/containers/early/start');
  assert.equal(refused.status, 409);
  assert.match(refused.text, /cannot join network of a non running container/);
  await daemon.ok('POST', '/containers/base/start');
  const { output } = await run('hostname; ps | grep -c "sleep 1000"', {
    NetworkMode: 'container:base',
    PidMode: 'container:base',
  });
  const { Id } = (await daemon.ok('GET', '/containers/base/json')).json<{ Id: string }>();
  assert.match(output, new RegExp(Id.slice(0, 12)));
  await daemon.ok('DELETE', '/containers/early');
  await daemon.ok('DELETE', '/containers/base?force=1');
});

test('a log with a limit is rotated and reads as one', async () => {
  const config = { Type: 'json-file', Config: { 'max-size': '20k', 'max-file': '3' } };
  await create('chatty', {
    Cmd: [
      'sh',
      '-c',
      'i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo line number $i padded with some words; sleep 0.005; done; sleep 1000',
    ],
    HostConfig: { LogConfig: config },
  });
  await daemon.ok('POST', '/containers/chatty/start');
  const { Id } = (await daemon.ok('GET', '/containers/chatty/json')).json<{ Id: string }>();
  const files = () =>
    readdirSync(join(daemon.dataRoot, 'containers', Id)).filter((name) => name.startsWith('container.log'));
  for (let attempt = 0; attempt < 200 && files().length < 2; attempt++) await sleep(50);
  assert.ok(files().length >= 2, files().join());
  for (let attempt = 0; attempt < 200; attempt++) {
    if ((await daemon.ok('GET', '/containers/chatty/logs?stdout=1&tail=1')).text.includes('line number 600 '))
      break;
    await sleep(50);
  }
  const { text } = await daemon.ok('GET', '/containers/chatty/logs?stdout=1');
  const numbers = [...text.matchAll(/line number (\d+) /g)].map((match) => Number(match[1]));
  assert.equal(numbers.at(-1), 600);
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => numbers[0]! + index),
    'no line is lost between the files',
  );
  await daemon.ok('DELETE', '/containers/chatty?force=1');
});

test('health: an unhealthy container turns healthy, with the last five results', async () => {
  const Healthcheck = {
    Test: ['CMD-SHELL', 'test -f /ok || { echo not yet; exit 1; }'],
    Interval: 100e6,
    Retries: 2,
  };
  await create('checked', { Cmd: ['sleep', '1000'], Healthcheck });
  await daemon.ok('POST', '/containers/checked/start');
  const health = async () =>
    (await daemon.ok('GET', '/containers/checked/json')).json<{
      State: { Health: { Status: string; Log: { Output: string }[] } };
    }>().State.Health;
  for (let attempt = 0; attempt < 200 && (await health()).Status !== 'unhealthy'; attempt++) await sleep(25);
  const sick = await health();
  assert.equal(sick.Status, 'unhealthy');
  assert.match(sick.Log[0]!.Output, /not yet/);
  const exec = (await daemon.ok('POST', '/containers/checked/exec', { Cmd: ['touch', '/ok'] })).json<{
    Id: string;
  }>();
  await daemon.ok('POST', `/exec/${exec.Id}/start`, { Detach: true });
  for (let attempt = 0; attempt < 200 && (await health()).Status !== 'healthy'; attempt++) await sleep(25);
  assert.equal((await health()).Status, 'healthy');
  assert.ok((await health()).Log.length <= 5);
  await daemon.ok('DELETE', '/containers/checked?force=1');
});

test('binds: a missing source is made for -v and refused for --mount, read-only holds', async () => {
  const host = mkdtempSync(join(tmpdir(), 'isle-bind-'));
  try {
    const made = await run('touch /x/file', { Binds: [`${host}/made:/x`] });
    assert.equal(made.code, 0);
    assert.deepEqual(readdirSync(join(host, 'made')), ['file']);
    const refused = await create('nosource', {
      Cmd: ['true'],
      HostConfig: { Mounts: [{ Type: 'bind', Source: `${host}/absent`, Target: '/x' }] },
    });
    assert.equal(refused.status, 400);
    assert.match(refused.text, /bind source path does not exist/);
    const readOnly = await run('touch /x/other', { Binds: [`${host}/made:/x:ro`] });
    assert.notEqual(readOnly.code, 0);
    assert.match(readOnly.output, /Read-only/);
  } finally {
    rmSync(host, { recursive: true, force: true });
  }
});

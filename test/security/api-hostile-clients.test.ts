import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiAnswer, callApi } from '../fixtures/docker-api.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { RawConnection } from '../fixtures/raw-http.ts';

let daemon: TestDaemon;

before(async () => {
  daemon = await startDaemon();
});

after(async () => {
  await daemon.close();
});

async function send(method: string, path: string, body?: unknown): Promise<ApiAnswer> {
  return await callApi(daemon.socket, { method, path, body });
}

async function alive(): Promise<void> {
  assert.equal((await send('GET', '/_ping')).text, 'OK');
}

/** kB */
function memory(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]);
}

function descriptors(): number {
  return readdirSync(`/proc/${daemon.pid}/fd`).length;
}

test('names that would lead out of a directory are refused everywhere', async () => {
  const names = [
    '../x',
    '..',
    '.',
    'a/../../b',
    '/etc',
    'a\0b',
    '-a',
    'a b',
    'a\nb',
    'a%2f..%2fb',
    'x'.repeat(300),
  ];
  for (const name of names) {
    const encoded = encodeURIComponent(name);
    const answers = [
      await send('POST', '/volumes/create', { Name: name }),
      await send('POST', '/networks/create', { Name: name }),
      ...(name === '/etc'
        ? []
        : [await send('POST', `/containers/create?name=${encoded}`, { Image: 'busybox' })]),
      await send('POST', '/containers/create', {
        Image: 'busybox',
        HostConfig: { Binds: [`${name}:/x`, `${name}:/x`] },
      }),
      await send('POST', '/containers/create', { Image: 'busybox', HostConfig: { VolumesFrom: [name] } }),
      await send('POST', `/images/busybox/tag?repo=${encoded}&tag=${encoded}`),
      await send('GET', `/volumes/${encoded}`),
      await send('GET', `/containers/${encoded}/json`),
      await send('DELETE', `/volumes/${encoded}`),
      await send('GET', `/images/${encoded}/json`),
    ];
    for (const [index, { status, text }] of answers.entries())
      assert.ok(
        status >= 400 && status < 500,
        `${JSON.stringify(name)}, request ${index}: ${status} ${text}`,
      );
  }
  const made = readdirSync(`${daemon.dataRoot}/volumes`).filter((name) => !name.startsWith('.'));
  assert.deepEqual(made, []);
  assert.deepEqual((await send('GET', '/containers/json?all=1')).json(), []);
});

test('bodies made to be heavy are refused or served, and cost no memory for good', async () => {
  const deep = (open: string, close: string) => `${open.repeat(1_000_000)}1${close.repeat(1_000_000)}`;
  const bodies = [
    `{"Image":"busybox","Labels":${deep('[', ']')}}`,
    `{"Image":"busybox","HostConfig":${deep('{"a":', '}')}}`,
    `{"Image":"busybox","Env":[${'"A=b",'.repeat(500_000)}"A=b"]}`,
    `{"Image":"${'a'.repeat(7_000_000)}"}`,
    `{"Image":"busybox","Labels":{${Array.from({ length: 100_000 }, (_, i) => `"l${i}":""`).join()}},"Cmd":[""]}`,
    `[${'1,'.repeat(3_000_000)}1]`,
  ];
  await alive();
  const before = memory();
  for (const body of bodies) {
    const answer = await callApi(daemon.socket, {
      method: 'POST',
      path: '/containers/create',
      raw: Buffer.from(body),
    });
    assert.ok(answer.status < 502, `${body.slice(0, 60)}: ${answer.status}`);
    if (answer.status === 201) await send('DELETE', `/containers/${answer.json<{ Id: string }>().Id}`);
  }
  await alive();
  const grown = memory() - before;
  assert.ok(grown < 400 * 1024, `memory grew by ${grown} kB`);
});

test('filters made to be slow are answered at once', async () => {
  await daemon.ok('POST', `/containers/create?name=${'a'.repeat(200)}`, { Image: 'busybox', Cmd: ['true'] });
  const patterns = [
    '(a+)+$',
    '(a|a)*b',
    `${'a*'.repeat(100)}b`,
    `${'.*a'.repeat(80)}b`,
    `^${'a?'.repeat(100)}$`,
  ];
  for (const pattern of patterns) {
    const filters = encodeURIComponent(JSON.stringify({ name: [pattern] }));
    const started = performance.now();
    await send('GET', `/containers/json?all=1&filters=${filters}`);
    assert.ok(performance.now() - started < 1000, pattern);
  }
});

test('clients that say nothing, half a request or noise keep nobody else waiting', async () => {
  await alive();
  const before = descriptors();
  const clients = Array.from({ length: 200 }, () => new RawConnection(daemon.socket));
  for (const [index, client] of clients.entries()) {
    if (index % 4 === 0)
      client.send('POST /containers/create HTTP/1.1', 'Host: d', 'Content-Length: 100', '', '{');
    if (index % 4 === 1) client.send('GET /_ping HTTP/1.1', 'Host:');
    if (index % 4 === 2) client.socket.write(randomBytes(2000));
  }
  await sleep(100);
  const started = performance.now();
  await alive();
  assert.ok(performance.now() - started < 1000);
  for (const client of clients) client.socket.destroy();
  await sleep(300);
  assert.ok(descriptors() <= before + 2, `${descriptors()} descriptors, ${before} before`);
});

test('random requests never get a server error, and never end the daemon', async () => {
  const words = [
    'containers',
    'images',
    'exec',
    'networks',
    'volumes',
    'json',
    'start',
    'archive',
    'create',
    'a',
    '%00',
    '..',
    '%2e%2e',
    '*',
  ];
  const methods = ['GET', 'POST', 'DELETE', 'PUT', 'HEAD', 'OPTIONS', 'PATCH'];
  const pick = (list: string[]): string => list[Math.floor(Math.random() * list.length)]!;
  for (let round = 0; round < 300; round++) {
    const path = `/${Array.from({ length: 1 + (round % 4) }, () => pick(words)).join('/')}?${pick(words)}=${pick(words)}&path=${pick(words)}`;
    // What prunes or reads events for ever is left to its own tests.
    const answer = await send(pick(methods), path, round % 2 ? { [pick(words)]: pick(words) } : undefined);
    assert.ok(answer.status < 500 || answer.status === 501, `${path}: ${answer.status} ${answer.text}`);
  }
  await alive();
});

test('the API listens on its socket and nowhere else', () => {
  const inodes = new Set(
    readdirSync(`/proc/${daemon.pid}/fd`).flatMap((fd) => {
      try {
        return [/socket:\[(\d+)\]/.exec(readlinkSync(`/proc/${daemon.pid}/fd/${fd}`))?.[1] ?? ''];
      } catch {
        // Closed since the list was made.
        return [];
      }
    }),
  );
  const listening = ['tcp', 'tcp6'].flatMap((name) =>
    readFileSync(`/proc/net/${name}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((columns) => columns[3] === '0A' && inodes.has(columns[9] ?? '')),
  );
  assert.deepEqual(listening, []);
});

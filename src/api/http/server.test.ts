import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { callApi } from '../../../test/fixtures/docker-api.ts';
import { type FakeEngine, fakeEngine } from '../../../test/fixtures/fake-engine.ts';
import { RawConnection } from '../../../test/fixtures/raw-http.ts';
import { silentLog } from '../../lib/log.ts';
import { frame } from './frames.ts';
import { json } from './reply.ts';
import { type ApiServer, createServer } from './server.ts';

let fake: FakeEngine;
let server: ApiServer;
let directory: string;
let socket: string;

before(async () => {
  fake = await fakeEngine();
  directory = await mkdtemp(join(tmpdir(), 'isle-api-'));
  socket = join(directory, 'docker.sock');
  server = await newServer();
  await server.listen(socket);
});

after(async () => {
  await server.close();
  await fake.close();
  await rm(directory, { recursive: true });
});

function newServer(config: object = {}): Promise<ApiServer> {
  return createServer({
    engine: fake.engine,
    config: { version: '0.0.0', dataRoot: directory, ...config },
    log: silentLog(),
  });
}

async function post(path: string, body?: unknown) {
  return await callApi(socket, { method: 'POST', path, body });
}

async function container(name: string, cmd: string[], more: object = {}): Promise<string> {
  const answer = await post(`/containers/create?name=${name}`, {
    Image: 'busybox',
    Cmd: cmd,
    OpenStdin: true,
    StdinOnce: true,
    ...more,
  });
  assert.equal(answer.status, 201, answer.text);
  return answer.json<{ Id: string }>().Id;
}

const upgrade = ['Connection: Upgrade', 'Upgrade: tcp'];
const query = 'stream=1&stdin=1&stdout=1&stderr=1';

test('the socket is 0660, a dead one is taken over, a live one and other files are not', async () => {
  assert.equal((await stat(socket)).mode & 0o777, 0o660);
  assert.deepEqual(
    (await readdir(directory)).filter((name) => name !== 'docker.sock'),
    [],
  );
  const second = await newServer();
  await assert.rejects(second.listen(socket), /another daemon serves it/);
  await assert.rejects(second.listen(join(directory, 'x'.repeat(120))), /at most 107 bytes/);
  const file = join(directory, 'file');
  await writeFile(file, '');
  await assert.rejects(second.listen(file), /not a socket/);
  const dead = join(directory, 'dead.sock');
  const old = createNetServer().listen(dead);
  await sleep(20);
  // Closing would unlink it: a killed daemon leaves it.
  await import('node:fs/promises').then((fs) => fs.link(dead, `${dead}.kept`));
  old.close();
  await sleep(20);
  await second.listen(`${dead}.kept`);
  assert.equal((await callApi(`${dead}.kept`, { path: '/_ping' })).text, 'OK');
  await second.close();
  assert.equal(existsSync(`${dead}.kept`), false);
});

test('attach with Upgrade answers 101 and carries both ways', async () => {
  const id = await container('up', ['cat']);
  const raw = new RawConnection(socket);
  raw.send(`POST /v1.51/containers/${id}/attach?${query} HTTP/1.1`, 'Host: d', ...upgrade, '', '');
  await raw.see('\r\n\r\n');
  assert.match(
    raw.text,
    /^HTTP\/1.1 101 UPGRADED\r\nContent-Type: application\/vnd.docker.multiplexed-stream\r\n/,
  );
  await post(`/containers/${id}/start`);
  raw.send('hello');
  await raw.see('hello');
  raw.finish();
  assert.ok((await raw.end()).endsWith(frame('stdout', Buffer.from('hello')).toString('latin1')));
});

test('attach without Upgrade answers 200 and carries both ways', async () => {
  const id = await container('raw', ['cat']);
  const raw = new RawConnection(socket);
  raw.send(`POST /v1.41/containers/${id}/attach?${query} HTTP/1.1`, 'Host: d', 'Content-Length: 0', '', '');
  await raw.see('\r\n\r\n');
  assert.match(raw.text, /^HTTP\/1.1 200 OK\r\nContent-Type: application\/vnd.docker.raw-stream\r\n/);
  await post(`/containers/${id}/start`);
  raw.send('hello');
  raw.finish();
  assert.ok((await raw.end()).endsWith(frame('stdout', Buffer.from('hello')).toString('latin1')));
});

test('an exec start takes its JSON with the upgrade, in pieces, and input right behind it', async () => {
  const id = await container('exec', ['sleep', '1000']);
  await post(`/containers/${id}/start`);
  const exec = await post(`/containers/${id}/exec`, { Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
  const raw = new RawConnection(socket);
  const path = `/v1.51/exec/${exec.json<{ Id: string }>().Id}/start`;
  raw.send(
    `POST ${path} HTTP/1.1`,
    'Host: d',
    ...upgrade,
    'Content-Type: application/json',
    'Content-Length: 28',
    '',
    '{"Detach":',
  );
  await sleep(50);
  raw.send('false,"Tty":false}eager');
  await raw.see('eager');
  raw.finish();
  assert.match(await raw.end(), /eager$/);
  await callApi(socket, { method: 'DELETE', path: `/containers/${id}?force=1` });
});

test('a refused upgrade is an ordinary answer', async () => {
  const raw = new RawConnection(socket);
  raw.send('POST /v1.51/containers/nope/attach HTTP/1.1', 'Host: d', ...upgrade, '', '');
  assert.match(await raw.end(), /^HTTP\/1.1 404 Not Found[^]*No such container: nope/);
});

test('a bad body behind an upgrade is refused, and the connection ends', async () => {
  const id = await container('bad', ['sleep', '1000']);
  await post(`/containers/${id}/start`);
  const exec = await post(`/containers/${id}/exec`, { Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
  const raw = new RawConnection(socket);
  const path = `/exec/${exec.json<{ Id: string }>().Id}/start`;
  raw.send(`POST ${path} HTTP/1.1`, 'Host: d', ...upgrade, 'Content-Length: 4', '', '{"a}more');
  assert.match(await raw.end(), /^HTTP\/1.1 400[^]*invalid JSON/);
  await callApi(socket, { method: 'DELETE', path: `/containers/${id}?force=1` });
});

test('other upgrades are ordinary requests', async () => {
  const raw = new RawConnection(socket);
  raw.send('GET /_ping HTTP/1.1', 'Host: d', 'Connection: Upgrade, close', 'Upgrade: h2c', '', '');
  assert.match(await raw.end(), /^HTTP\/1.1 200 OK/);
});

test('the detach keys leave a terminal and the process goes on', async () => {
  const id = await container('tty', ['cat'], { Tty: true, StdinOnce: false });
  const raw = new RawConnection(socket);
  raw.send(
    `POST /containers/${id}/attach?${query}&detachKeys=ctrl-a,x HTTP/1.1`,
    'Host: d',
    ...upgrade,
    '',
    '',
  );
  await raw.see('\r\n\r\n');
  await post(`/containers/${id}/start`);
  raw.send('ab\x01xnot seen');
  assert.doesNotMatch(await raw.end(), /not seen/);
  assert.equal(fake.engine.containers.get(id).state.phase, 'running');
  await callApi(socket, { method: 'DELETE', path: `/containers/${id}?force=1` });
});

test('wait answers its headers before the container is started, and its body when it ends', async () => {
  const id = await container('wait', ['sh', '-c', 'exit 7']);
  const raw = new RawConnection(socket);
  raw.send(
    `POST /containers/${id}/wait?condition=next-exit HTTP/1.1`,
    'Host: d',
    'Connection: close',
    '',
    '',
  );
  await raw.see('\r\n\r\n');
  assert.match(raw.text, /^HTTP\/1.1 200 OK/);
  await post(`/containers/${id}/start`);
  assert.match(await raw.end(), /\{"StatusCode":7\}/);
  assert.equal((await post(`/containers/${id}/wait?condition=soon`)).status, 400);
});

test('what is no HTTP, or two requests in one, is refused', async () => {
  const cases: string[][] = [
    ['POST /_ping HTTP/1.1', 'Host: d', 'Content-Length: 3', 'Transfer-Encoding: chunked', '', '0', '', ''],
    ['GET /_ping HTTP/1.1', 'Host: d', 'Content-Length: 3', 'Content-Length: 4', '', 'abcd'],
    ['GET /_ping HTTP/1.1', 'Host: d', 'Content-Length: -1', '', ''],
    ['GET /_ping HTTP/1.1', 'Host: d', 'Transfer-Encoding: gzip', '', ''],
    ['GET /_ping HTTP/1.1', 'Host : d', '', ''],
    ['GET /_ping HTTP/1.1', 'Host: d', 'A: b\nC: d\rE', '', ''],
    ['GET /_ping HTTP/1.1', '', ''],
    ['\x16\x03\x01', ''],
  ];
  for (const lines of cases) {
    const raw = new RawConnection(socket);
    raw.send(...lines);
    assert.match(await raw.end(), /^HTTP\/1.1 400/, lines.join('|'));
  }
  const raw = new RawConnection(socket);
  raw.send('GET /_ping HTTP/1.1', 'Host: d', `X: ${'x'.repeat(80_000)}`, '', '');
  assert.match(await raw.end(), /^HTTP\/1.1 431/);
});

test('a body is judged by what it is, not by what its headers say of it', async () => {
  const send = async (headers: string[], body: string) => {
    const raw = new RawConnection(socket);
    raw.send('POST /containers/create HTTP/1.1', 'Host: d', 'Connection: close', ...headers, '', body);
    return await raw.end();
  };
  assert.match(await send(['Content-Length: 0'], ''), /^HTTP\/1.1 400[^]*no image specified/);
  assert.match(
    await send(['Transfer-Encoding: chunked'], '0\r\n\r\n'),
    /^HTTP\/1.1 400[^]*no image specified/,
  );
  assert.match(await send(['Transfer-Encoding: chunked'], '5\r\nnope!\r\n0\r\n\r\n'), /invalid JSON/);
});

test('a body over the limit is refused and the daemon goes on', async () => {
  const answer = await callApi(socket, {
    method: 'POST',
    path: '/containers/create',
    raw: Buffer.alloc(9 * 1024 * 1024, 32),
  }).catch((error: Error) => error);
  if (!(answer instanceof Error)) assert.equal(answer.status, 413);
  assert.equal((await callApi(socket, { path: '/_ping' })).text, 'OK');
});

test('clients that leave in the middle of anything leave nothing behind', async () => {
  const id = await container('leave', ['cat'], { StdinOnce: false });
  await post(`/containers/${id}/start`);
  const descriptors = async () => (await readdir('/proc/self/fd')).length;
  const leave = async () => {
    const paths = [
      `POST /containers/${id}/attach?${query}`,
      `GET /containers/${id}/logs?follow=1&stdout=1`,
      `POST /containers/${id}/wait`,
      'GET /events',
      `GET /containers/${id}/stats`,
    ];
    for (const path of paths) {
      const raw = new RawConnection(socket);
      const headers = path.includes('attach') ? upgrade : [];
      raw.send(`${path} HTTP/1.1`, 'Host: d', ...headers, '', '');
      await raw.see('\r\n\r\n');
      raw.socket.destroy();
    }
  };
  await leave();
  await sleep(100);
  const beforehand = await descriptors();
  for (let round = 0; round < 20; round++) await leave();
  await sleep(200);
  assert.ok(
    (await descriptors()) <= beforehand + 2,
    `${await descriptors()} descriptors, ${beforehand} before`,
  );
  await callApi(socket, { method: 'DELETE', path: `/containers/${id}?force=1` });
});

test('closing lets an answer under way be finished, and ends streams', async () => {
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const second = await createServer({
    engine: fake.engine,
    config: { version: '', dataRoot: directory },
    log: silentLog(),
    routes: [
      {
        method: 'GET',
        path: '/slow',
        async handle() {
          entered.resolve();
          await gate.promise;
          return json('finished');
        },
      },
    ],
  });
  const path = join(directory, 'closing.sock');
  await second.listen(path);
  const [events, slow] = [new RawConnection(path), new RawConnection(path)];
  events.send('GET /events HTTP/1.1', 'Host: d', '', '');
  slow.send('GET /slow HTTP/1.1', 'Host: d', '', '');
  await events.see('\r\n\r\n');
  await entered.promise;
  const closed = second.close();
  await events.end();
  gate.resolve();
  assert.match(await slow.end(), /finished/);
  await closed;
});

test('over TCP only known hosts and origins are served', async () => {
  const port = 20_000 + (process.pid % 20_000);
  const tcp = { host: '127.0.0.1', port, allowedHosts: ['isle.local'], allowedOrigins: ['http://ok'] };
  const second = await newServer({ tcp });
  await second.listen(join(directory, 'second.sock'));
  const status = async (headers: Record<string, string>) => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    request({ host: '127.0.0.1', port, path: '/_ping', headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
    return await promise;
  };
  assert.equal(await status({}), 200);
  assert.equal(await status({ host: `isle.local:${port}` }), 200);
  assert.equal(await status({ host: 'evil.example' }), 403);
  assert.equal(await status({ origin: 'http://ok' }), 200);
  assert.equal(await status({ origin: 'http://evil.example' }), 403);
  await sendAndReset(port, 'POST /containers/create?name=unseen HTTP/1.1', {
    Image: 'busybox',
    Cmd: ['true'],
  });
  assert.equal((await callApi(socket, { path: '/containers/unseen/json' })).status, 404);
  await second.close();
});

/** From a host that is on no list. Of a connection that was reset the kernel tells no address any more. */
async function sendAndReset(port: number, start: string, value: unknown): Promise<void> {
  const body = JSON.stringify(value);
  const client = connect(port, '127.0.0.1');
  client.write(`${start}\r\nHost: evil.example\r\nContent-Length: ${body.length}\r\n\r\n${body}`, () => {
    client.resetAndDestroy();
  });
  await once(client, 'close');
  await sleep(100);
}

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { callApi } from '../../../test/fixtures/docker-api.ts';
import { type FakeEngine, fakeEngine } from '../../../test/fixtures/fake-engine.ts';
import { RawConnection } from '../../../test/fixtures/raw-http.ts';
import type { Image, PullOptions } from '../../images/images.ts';
import { isleError } from '../../lib/errors.ts';
import { silentLog } from '../../lib/log.ts';
import { type ApiServer, createServer } from '../http/server.ts';

let fake: FakeEngine;
let server: ApiServer;
let directory: string;
let socket: string;
/** What the next pull does. */
let pull: (options: PullOptions) => Promise<void>;

before(async () => {
  fake = await fakeEngine();
  const [image] = fake.engine.images.list() as [Image];
  const images = Object.assign(Object.create(fake.engine.images) as typeof fake.engine.images, {
    pull: async (_ref: string, options: PullOptions) => {
      await pull(options);
      return image;
    },
  });
  directory = await mkdtemp(join(tmpdir(), 'isle-api-'));
  socket = join(directory, 'docker.sock');
  server = await createServer({
    engine: { ...fake.engine, images },
    config: { version: '', dataRoot: directory },
    log: silentLog(),
  });
  await server.listen(socket);
});

beforeEach(() => {
  pull = async () => {};
});

after(async () => {
  await server.close();
  await fake.close();
  await rm(directory, { recursive: true });
});

const path = '/images/create?fromImage=busybox&tag=latest';

test('progress comes as a JSON object a line', async () => {
  pull = async ({ onProgress }) => {
    onProgress({ status: 'Downloading', id: 'abc', progressDetail: { current: 50, total: 100 } });
    onProgress({ status: 'Pull complete', id: 'abc' });
  };
  const answer = await callApi(socket, { method: 'POST', path });
  assert.equal(answer.headers['content-type'], 'application/json');
  const lines = answer.text
    .trim()
    .split('\r\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    lines.map((line) => line.status),
    ['Downloading', 'Pull complete'],
  );
  assert.match(String(lines[0]?.progress), /^\[=+> +\]/);
});

test('an error before the first line is a status, after it a line', async () => {
  pull = async () => {
    throw isleError('noSuchImage', { ref: 'x' });
  };
  assert.equal((await callApi(socket, { method: 'POST', path })).status, 404);
  pull = async ({ onProgress }) => {
    onProgress({ status: 'Pulling' });
    throw isleError('internal', { message: 'broken' });
  };
  const answer = await callApi(socket, { method: 'POST', path });
  assert.equal(answer.status, 200);
  assert.match(answer.text, /\{"errorDetail":\{"message":"broken"\},"error":"broken"\}\r\n$/);
});

test('a client that goes away aborts the pull', async () => {
  const aborted = Promise.withResolvers<void>();
  pull = async ({ onProgress, signal }) => {
    onProgress({ status: 'Pulling' });
    signal?.addEventListener('abort', () => aborted.resolve());
    await aborted.promise;
    throw signal?.reason;
  };
  const raw = new RawConnection(socket);
  raw.send(`POST ${path} HTTP/1.1`, 'Host: d', 'Content-Length: 0', '', '');
  await raw.see('Pulling');
  raw.socket.destroy();
  await aborted.promise;
});

test('a client that does not read gets the newest positions only, and costs no memory', async () => {
  const done = Promise.withResolvers<void>();
  pull = async ({ onProgress }) => {
    for (let current = 0; current < 200_000; current++) {
      onProgress({
        status: 'Downloading',
        id: `layer${current % 4}`,
        progressDetail: { current, total: 200_000 },
      });
      if (current % 1000 === 0) await new Promise(setImmediate);
    }
    onProgress({ status: 'Status: done' });
    done.resolve();
  };
  const raw = new RawConnection(socket);
  raw.socket.pause();
  const before = process.memoryUsage().rss;
  raw.send(`POST ${path} HTTP/1.1`, 'Host: d', 'Connection: close', 'Content-Length: 0', '', '');
  await done.promise;
  assert.ok(process.memoryUsage().rss - before < 50e6);
  raw.socket.resume();
  const text = await raw.end();
  assert.ok(text.length < 2e6, `${text.length} bytes`);
  assert.match(text, /"current":199999[^]*Status: done/);
});

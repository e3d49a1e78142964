import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createRawServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import fc from 'fast-check';
import { Client } from './client.ts';
import { httpRequest } from './http.ts';

async function withSocket<T>(
  listen: (path: string) => Promise<{ close(): void }>,
  use: (path: string) => Promise<T>,
) {
  const folder = mkdtempSync(join(tmpdir(), 'isle-cli-http-'));
  const server = await listen(join(folder, 's'));
  try {
    return await use(join(folder, 's'));
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
}

function serving<T>(listener: RequestListener, use: (client: Client) => Promise<T>): Promise<T> {
  return withSocket(
    async (path) => {
      const server = createHttpServer(listener).listen(path);
      await once(server, 'listening');
      return { close: () => server.close() };
    },
    (path) => use(new Client({ socketPath: path })),
  );
}

/** A server that answers every connection with these bytes, cut as told. */
function answering<T>(pieces: (string | Buffer)[], use: (path: string) => Promise<T>): Promise<T> {
  return withSocket(async (path) => {
    const server = createRawServer((socket: Socket) => {
      socket.on('error', () => {});
      socket.setNoDelay(true);
      void (async () => {
        for (const piece of pieces) {
          socket.write(piece);
          await new Promise((resolve) => setImmediate(resolve));
        }
        socket.end();
      })();
    }).listen(path);
    await once(server, 'listening');
    return { close: () => server.close() };
  }, use);
}

const get = (socketPath: string) =>
  httpRequest({
    address: { socketPath },
    method: 'GET',
    path: '/',
    headers: {},
    body: undefined,
    signal: undefined,
  });

test('JSON goes there and back, errors carry the message of the engine', async () => {
  await serving(
    (request, response) => {
      void text(request).then((body) => {
        if (request.url === '/v1.51/broken') response.writeHead(409).end('{"message":"name in use"}');
        else response.end(JSON.stringify({ method: request.method, url: request.url, body }));
      });
    },
    async (client) => {
      assert.deepEqual(await client.post('/x', { query: { a: 'b c' }, body: { z: 'ü' } }), {
        method: 'POST',
        url: '/v1.51/x?a=b%20c',
        body: '{"z":"ü"}',
      });
      assert.deepEqual(await client.get('/isle/y'), { method: 'GET', url: '/isle/y', body: '' });
      await assert.rejects(client.get('/broken'), { name: 'ApiError', status: 409, message: 'name in use' });
    },
  );
});

test('a body in chunks comes whole, however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ minLength: 1 })),
      fc.array(fc.integer({ min: 1, max: 9 })),
      async (chunks, cuts) => {
        const wire = Buffer.from(
          `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks
            .map((chunk) => `${Buffer.byteLength(chunk).toString(16)};x=y\r\n${chunk}\r\n`)
            .join('')}0\r\nTrailer: x\r\n\r\n`,
        );
        const pieces: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          pieces.push(wire.subarray(at, at + cut));
          at += cut;
        }
        const body = await answering([...pieces, wire.subarray(at)], async (path) =>
          text((await get(path)).body),
        );
        assert.equal(body, chunks.join(''));
      },
    ),
    { numRuns: 40 },
  );
});

test('an answer that breaks off, or is none, is an error', async () => {
  const cases: [string, RegExp][] = [
    ['HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', /in the middle of its answer/],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab', /in the middle of its answer/],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', /broken stream/],
    ['SSH-2.0-OpenSSH\r\n\r\n', /does not speak HTTP/],
    ['', /without an answer/],
  ];
  for (const [wire, message] of cases)
    await answering([wire], (path) => assert.rejects(async () => text((await get(path)).body), message));
  assert.equal(
    await answering(['HTTP/1.1 200 OK\r\n\r\nto the end'], async (path) => text((await get(path)).body)),
    'to the end',
  );
});

test('a stream is sent in chunks; its failure is not taken for its end', async () => {
  await serving(
    (request, response) => {
      text(request).then(
        (body) => response.end(JSON.stringify(body)),
        () => response.destroy(),
      );
    },
    async (client) => {
      const big = 'x'.repeat(300_000);
      assert.equal(await client.json('PUT', '/x', { body: Readable.from([big, 'y', '']) }), `${big}y`);
      const failing = Readable.from(
        (async function* () {
          yield 'part';
          await Promise.resolve();
          throw new Error('the disk is gone');
        })(),
      );
      await assert.rejects(client.json('PUT', '/x', { body: failing }), /the disk is gone/);
    },
  );
});

test('an answer before the end of what is sent counts', async () => {
  await serving(
    (_request, response) => {
      response.writeHead(404, { connection: 'close' }).end('{"message":"no such container"}');
    },
    async (client) => {
      const endless = new Readable({ read() {} });
      endless.push('x');
      await assert.rejects(client.json('PUT', '/x', { body: endless }), { status: 404 });
      endless.destroy();
    },
  );
});

test('an upgraded connection can be half-closed, and keeps what came with the head', async () => {
  await withSocket(
    async (path) => {
      const server = createRawServer({ allowHalfOpen: true }, (socket) => {
        let received = '';
        socket.once('data', () => {
          socket.write(
            'HTTP/1.1 101 UPGRADED\r\nContent-Type: raw\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst ',
          );
          socket.on('data', (chunk) => (received += chunk.toString()));
        });
        socket.on('end', () => socket.end(`then ${received}`));
      }).listen(path);
      await once(server, 'listening');
      return { close: () => server.close() };
    },
    async (path) => {
      const { socket, contentType } = await new Client({ socketPath: path }).hijack('/attach');
      assert.equal(contentType, 'raw');
      socket.end('input');
      assert.equal(await text(socket), 'first then input');
    },
  );
});

test('a request can be aborted, before and after the head', async () => {
  await serving(
    (request, response) => {
      if (request.url?.endsWith('/slow')) return;
      response.write('{"a":1}\n');
    },
    async (client) => {
      const before = new AbortController();
      const waiting = client.get('/slow', undefined, before.signal);
      setTimeout(() => before.abort(), 20);
      await assert.rejects(waiting, { name: 'AbortError' });
      const after = new AbortController();
      const seen: unknown[] = [];
      await assert.rejects(
        async () => {
          for await (const line of client.lines('GET', '/x', { signal: after.signal })) {
            seen.push(line);
            after.abort();
          }
        },
        { name: 'AbortError' },
      );
      assert.deepEqual(seen, [{ a: 1 }]);
    },
  );
});

test('where nobody listens, it says how to start the engine', async () => {
  const client = new Client({ socketPath: '/nonexistent/docker.sock' });
  await assert.rejects(client.get('/x'), {
    message: /does not run at unix:\/\/\/nonexistent/,
    hint: 'start it: isle up',
  });
});

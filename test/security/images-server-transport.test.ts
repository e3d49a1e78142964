/** How an image server is reached: as a registry is, with the same authorities, refusals and proxies. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { RegistryConfig } from '../../src/images/registry/config.ts';
import { messageOf } from '../../src/lib/errors.ts';
import { openImages } from '../fixtures/engine-images.ts';
import { makeCertificate } from '../fixtures/registry.ts';

const index = '{"index":{"images":{"datatype":"image-downloads","path":"streams/v1/images.json"}}}';

describe('the way to an image server', () => {
  let base: string;
  let server: Server;
  /** Not a loopback address to who looks at it, but one to the kernel. */
  let host: string;
  let ca: string;
  let redirect: string | undefined;
  before(async () => {
    base = mkdtempSync(join(tmpdir(), 'isle-transport-'));
    const made = makeCertificate(base);
    ca = made.ca;
    server = createServer(
      { cert: readFileSync(made.cert), key: readFileSync(made.key) },
      (request, response) => {
        if (redirect !== undefined) return void response.writeHead(302, { location: redirect }).end();
        response.end(request.url?.endsWith('index.json') ? index : '{"products":{}}');
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '::', resolve));
    host = `[::ffff:7f00:1]:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    await new Promise((resolve) => server.close(resolve));
    rmSync(base, { recursive: true });
  });

  async function search(url: string, config: Partial<RegistryConfig> = {}): Promise<string> {
    await using under = await openImages(config);
    try {
      return `found ${(await under.images.searchServer(url)).length}`;
    } catch (error) {
      return messageOf(error);
    }
  }

  test('a certificate that nobody vouches for is refused, unless its authority is named', async () => {
    assert.match(await search(`https://${host}/`), /unknown authority/);
    assert.equal(await search(`https://${host}/`, { certificateAuthorities: { [host]: ca } }), 'found 0');
    assert.equal(await search(`https://${host}/`, { insecureRegistries: [host] }), 'found 0');
    assert.equal(
      await search('mine', {
        remotes: { mine: `https://${host}` },
        certificateAuthorities: { [host]: ca },
      }),
      'found 0',
    );
  });

  test('plain HTTP is refused, also at the end of a redirect', async () => {
    assert.match(await search(`http://${host}/`), /plain HTTP/);
    const trusted = { certificateAuthorities: { [host]: ca } };
    redirect = `http://${host.replace(/:\d+$/, ':1')}/index.json`;
    assert.match(await search(`https://${host}/`, trusted), /redirect from HTTPS to plain HTTP/);
    redirect = `https://${host}/again`;
    assert.match(await search(`https://${host}/`, trusted), /more than 5 redirects/);
    redirect = 'file:///etc/passwd';
    assert.match(await search(`https://${host}/`, trusted), /not an http\(s\) URL/);
    redirect = undefined;
  });

  test('a proxy of the environment is used', async () => {
    const asked: string[] = [];
    const proxy = createHttp().on('connect', (request, socket) => {
      asked.push(request.url ?? '');
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    try {
      const environment = { HTTPS_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
      assert.match(await search('https://images.example/', { environment }), /images\.example/);
      assert.deepEqual([...new Set(asked)], ['images.example:443']);
    } finally {
      proxy.closeAllConnections();
      await new Promise((resolve) => proxy.close(resolve));
    }
  });
});

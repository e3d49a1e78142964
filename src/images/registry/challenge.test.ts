import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRetryAfter, registryWords } from './answers.ts';
import { parseChallenges } from './challenge.ts';
import { inCidr, isLoopback, proxyFor } from './proxy.ts';

test('challenges are parsed with quotes, escapes, commas and several schemes', () => {
  const [bearer, basic] = parseChallenges(
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push", error="a\\"b" , Basic realm=x',
  );
  assert.equal(bearer?.scheme, 'bearer');
  assert.deepEqual(Object.fromEntries(bearer?.parameters ?? []), {
    realm: 'https://auth.docker.io/token',
    service: 'registry.docker.io',
    scope: 'repository:a/b:pull,push',
    error: 'a"b',
  });
  assert.deepEqual([basic?.scheme, basic?.parameters.get('realm')], ['basic', 'x']);
  assert.deepEqual(parseChallenges(undefined), []);
  assert.equal(parseChallenges('Negotiate')[0]?.scheme, 'negotiate');
});

test('no header makes the parser throw or take long', () => {
  const hostile = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom('"', '\\', ',', '=', ' ', 'a', '\t'), maxLength: 5000 }),
    fc.constant('Bearer '.repeat(5000)),
    fc.constant(`Bearer a="${'\\'.repeat(9000)}`),
  );
  fc.assert(
    fc.property(hostile, (header) => {
      const start = performance.now();
      parseChallenges(header);
      assert.ok(performance.now() - start < 200);
    }),
  );
});

test('Retry-After is seconds or a date', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  assert.equal(parseRetryAfter('120', now), 120_000);
  assert.equal(parseRetryAfter('Thu, 01 Jan 2026 00:00:30 GMT', now), 30_000);
  assert.equal(parseRetryAfter('Wed, 31 Dec 2025 00:00:00 GMT', now), 0);
  assert.equal(parseRetryAfter('soon', now), undefined);
  assert.equal(parseRetryAfter(undefined, now), undefined);
});

test('a registry’s words come on one line, whatever it sends', () => {
  const words = (value: unknown) => registryWords(Buffer.from(JSON.stringify(value)));
  assert.equal(
    words({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'manifest\n unknown' }] }),
    'manifest unknown: manifest unknown',
  );
  assert.equal(words({ details: 'incorrect username or password' }), 'incorrect username or password');
  assert.equal(words({ errors: 'no list' }), '');
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.doesNotMatch(words({ errors: [value] }), /[\n\r\0]/);
    }),
  );
});

test('proxies follow the environment, with Go’s exceptions', () => {
  const environment = {
    HTTPS_PROXY: 'http://proxy:3128',
    http_proxy: 'proxy:3129',
    NO_PROXY:
      'direct.example, .sub.example,10.0.0.0/8,192.168.1.1,port.example:8443,[fd00::1],*.star.example',
  };
  const ask = (url: string) => proxyFor(new URL(url), environment);
  assert.equal(ask('https://registry.example/'), 'http://proxy:3128');
  assert.equal(ask('http://registry.example/'), 'http://proxy:3129');
  for (const direct of [
    'https://direct.example/',
    'https://below.direct.example/',
    'https://a.sub.example/',
    'https://a.star.example/',
    'https://10.1.2.3/',
    'https://192.168.1.1:5000/',
    'https://port.example:8443/',
    'https://[fd00::1]/',
    'http://localhost:5000/',
    'http://127.0.0.1:5000/',
    'http://[::1]:5000/',
  ])
    assert.equal(ask(direct), undefined, direct);
  for (const proxied of [
    'https://notdirect.example/',
    'https://sub.example/',
    'https://11.0.0.1/',
    'https://port.example/',
  ])
    assert.equal(ask(proxied), 'http://proxy:3128', proxied);
  assert.equal(proxyFor(new URL('https://a/'), { ...environment, NO_PROXY: '*' }), undefined);
  assert.equal(proxyFor(new URL('https://a/'), {}), undefined);
});

test('loopback is what the kernel says it is, not what a name begins with', () => {
  for (const host of ['localhost', '127.0.0.1', '127.8.9.1', '::1', '[::1]'])
    assert.ok(isLoopback(host), host);
  for (const host of ['127.0.0.1.evil.com', 'localhost.evil.com', '1270.0.0.1', '127.evil', '::2', ''])
    assert.ok(!isLoopback(host), host);
  assert.ok(
    inCidr('10.1.1.1', '10.0.0.0/8') && !inCidr('11.1.1.1', '10.0.0.0/8') && !inCidr('a', '10.0.0.0/99'),
  );
});

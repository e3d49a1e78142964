import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rewriteUrl } from './rewrite-url.ts';

const cases: [string, string, string | undefined][] = [
  ['/v1.43/containers/json?all=1', '/containers/json?all=1', '1.43'],
  ['/containers/json', '/containers/json', undefined],
  ['/v1.51/images/a/b/c:d/json', '/images/a%2Fb%2Fc:d/json', '1.51'],
  ['/images/localhost:5000/a:b/push?tag=c/d', '/images/localhost:5000%2Fa:b/push?tag=c/d', undefined],
  ['/images/a/json/json', '/images/a%2Fjson/json', undefined],
  ['/images/a/b', '/images/a%2Fb', undefined],
  ['/images/a%2Fb/json', '/images/a%2Fb/json', undefined],
  ['/images/json', '/images/json', undefined],
  ['/images/get?names=a/b', '/images/get?names=a/b', undefined],
  ['/distribution/a/b/json', '/distribution/a%2Fb/json', undefined],
  ['/v1.43', '/v1.43', undefined],
  ['/version', '/version', undefined],
  ['/volumes/create', '/volumes/create', undefined],
];

for (const [url, expected, version] of cases) {
  test(`${url} is routed as ${expected}`, () => {
    assert.deepEqual(rewriteUrl(url), { url: expected, version });
  });
}

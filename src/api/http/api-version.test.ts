import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseVersion } from './api-version.ts';

test('versions from 1.24 to 1.51 are served', () => {
  assert.equal(parseVersion('1.24'), 24);
  assert.equal(parseVersion('1.51'), 51);
});

test('other versions are refused in the words that clients know', () => {
  assert.throws(() => parseVersion('1.52'), {
    message: 'client version 1.52 is too new. Maximum supported API version is 1.51',
  });
  assert.throws(() => parseVersion('2.0'), /too new/);
  assert.throws(() => parseVersion('1.23'), /too old. Minimum supported API version is 1.24/);
  assert.throws(() => parseVersion('1'), /too old/);
  assert.throws(() => parseVersion('1.9999999999'), /too old/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkMemory } from './resources.ts';

const gib = 1024 ** 3;

test('a guest has as much memory as its kernel needs, and as the host has', () => {
  checkMemory(64 * 1024 ** 2, gib);
  checkMemory(gib, gib);
  assert.throws(() => checkMemory(63 * 1024 ** 2, gib), /63 MiB are too little .* at least 64 MiB/);
  assert.throws(() => checkMemory(900 * gib, gib), /921600 MiB are more .* this host has \(1024 MiB\)/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasRegionsFor } from './translated-code.ts';

const state = (size: number): string =>
  `Translation buffer state:\ngen code size       ${size}/16000000\nTB count            5\n`;

test('a processor comes only while a region for its code is certainly free, and one more', () => {
  // 16 regions of a million bytes.
  const two = { there: 1, most: 2 };
  assert.ok(hasRegionsFor(state(0), two));
  assert.ok(hasRegionsFor(state(12_500_000), two));
  assert.ok(!hasRegionsFor(state(13_000_000), two));
  assert.ok(!hasRegionsFor(state(16_000_000), two));
  // Each of those that run has begun one of its own.
  assert.ok(hasRegionsFor(state(0), { there: 63, most: 64 }));
  assert.ok(!hasRegionsFor(state(14_000_000), { there: 63, most: 64 }));
});

test('what QEMU does not say is no room', () => {
  for (const text of ['', 'gen code size  7', 'gen code size 0/0', 'gen code size -1/7', 'undefined'])
    assert.ok(!hasRegionsFor(text, { there: 1, most: 2 }), text);
});

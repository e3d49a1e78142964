import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasRegionsFor } from './translated-code.ts';

const mib = 1024 * 1024;
const state = (percent: number, room: number): string =>
  `Translation buffer state:\ngen code size       ${Math.floor((percent * room * mib) / 100)}/${room * mib}\nTB count            5\n`;

test('a processor comes only while a region for its code is certainly free, and some more', () => {
  // 16 regions.
  const two = { there: 1, most: 2 };
  assert.ok(hasRegionsFor(state(0, 256), two));
  assert.ok(hasRegionsFor(state(70, 256), two));
  assert.ok(!hasRegionsFor(state(75, 256), two));
  assert.ok(!hasRegionsFor(state(100, 256), two));
  // Each of those that run has begun one of its own.
  assert.ok(hasRegionsFor(state(0, 1024), { there: 63, most: 64 }));
  assert.ok(!hasRegionsFor(state(87, 1024), { there: 63, most: 64 }));
});

test('the regions are those of the buffer that there is', () => {
  // 10 regions: a machine of an earlier version.
  assert.ok(hasRegionsFor(state(40, 20), { there: 1, most: 4 }));
  assert.ok(!hasRegionsFor(state(60, 20), { there: 1, most: 4 }));
  // One for each.
  assert.ok(!hasRegionsFor(state(0, 4), { there: 2, most: 4 }));
  // 1024, not 2040.
  assert.ok(!hasRegionsFor(state(80, 2048), { there: 200, most: 255 }));
});

test('what QEMU does not say is no room', () => {
  for (const text of ['', 'gen code size  7', 'gen code size 0/0', 'gen code size -1/7', 'undefined'])
    assert.ok(!hasRegionsFor(text, { there: 1, most: 2 }), text);
});

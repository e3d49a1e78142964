import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBinaryBytes, formatBytes, parseBytes, parseDuration } from './units.ts';

test('sizes are read in powers of 1024 and written as Docker writes them', () => {
  assert.equal(parseBytes('512m'), 512 * 1024 ** 2);
  assert.equal(parseBytes('1.5GiB'), 1.5 * 1024 ** 3);
  assert.equal(parseBytes('10'), 10);
  assert.throws(() => parseBytes('ten'), /invalid size: "ten"/);
  assert.equal(formatBytes(1_234_567), '1.23MB');
  assert.equal(formatBinaryBytes(3.5 * 1024 ** 2), '3.5MiB');
});

test('Go durations become nanoseconds', () => {
  assert.equal(parseDuration('1m30s'), 90e9);
  assert.equal(parseDuration('500ms'), 5e8);
  assert.throws(() => parseDuration('5 parsecs'), /invalid duration/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { padTime, parseTimestamp } from './timestamps.ts';

test('seconds with a fraction and RFC 3339 keep their nanoseconds', () => {
  assert.equal(parseTimestamp('1700000000', 'since'), '1700000000000000000');
  assert.equal(parseTimestamp('1700000000.000000001', 'since'), '1700000000000000001');
  assert.equal(parseTimestamp('1700000000.5', 'since'), '1700000000500000000');
  assert.equal(parseTimestamp('2023-11-14T22:13:20.123456789Z', 'since'), '1700000000123456789');
  assert.equal(parseTimestamp('2023-11-14T23:13:20+01:00', 'since'), '1700000000000000000');
  assert.equal(parseTimestamp('', 'since'), undefined);
  assert.throws(() => parseTimestamp('soon', 'since'), /invalid since: "soon"/);
});

test('log times have nine digits and end in Z', () => {
  assert.equal(padTime('2026-01-02T03:04:05Z'), '2026-01-02T03:04:05.000000000Z');
  assert.equal(padTime('2026-01-02T03:04:05.12+00:00'), '2026-01-02T03:04:05.120000000Z');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { didYouMean, editDistance, nearest } from './suggest.ts';

test('a slip of the finger finds its word', () => {
  assert.equal(nearest('rnu', ['run', 'rm', 'ps']), 'run');
  assert.equal(nearest('stat', ['start', 'stats', 'stop']), 'stats');
  assert.equal(nearest('postgers', ['postgres', 'redis']), 'postgres');
  assert.equal(nearest('xyzzy', ['run', 'rm']), undefined);
  assert.equal(nearest('run', ['run']), undefined);
});

test('a message gets the word in brackets, or nothing', () => {
  assert.equal(didYouMean('logLevle', ['logLevel', 'dataRoot']), ' (did you mean "logLevel"?)');
  assert.equal(didYouMean('LOGLEVEL', ['logLevel']), ' (did you mean "logLevel"?)');
  assert.equal(didYouMean('x', ['logLevel']), '');
});

test('the distance is a metric, and neighbours swapped count once', () => {
  assert.equal(editDistance('abcd', 'acbd'), 1);
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      assert.equal(editDistance(a, a), 0);
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
      assert.ok(editDistance(a, b) >= Math.abs(a.length - b.length));
    }),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filterFlag, matchLabels, matchText, parseFilters } from './filters.ts';
import { Query } from './query.ts';

const parse = (filters: unknown, known: string[] = ['label', 'dangling']) =>
  parseFilters(new Query(`/x?filters=${encodeURIComponent(JSON.stringify(filters))}`), known);

test('both forms that clients send are read', () => {
  assert.deepEqual(parse({ label: { 'a=b': true, c: false } }), { label: ['a=b'] });
  assert.deepEqual(parse({ label: ['a=b', 'c'] }), { label: ['a=b', 'c'] });
  assert.deepEqual(parseFilters(new Query('/x'), []), {});
});

test('what is no filter is refused', () => {
  assert.throws(() => parse({ nope: ['x'] }), /invalid filter 'nope'/);
  assert.throws(() => parse(['x']), /expected an object/);
  assert.throws(() => parse({ label: 'x' }), /expected a list/);
  assert.throws(() => parseFilters(new Query('/x?filters={'), []), /not JSON/);
  assert.throws(() => filterFlag({ dangling: ['x'] }, 'dangling'), /expected true or false/);
});

test('all labels must hold, and no unwanted one', () => {
  const labels = { a: 'b', c: '' };
  assert.equal(matchLabels({ label: ['a', 'a=b', 'c='] }, labels), true);
  assert.equal(matchLabels({ label: ['a=c'] }, labels), false);
  assert.equal(matchLabels({ 'label!': ['a'] }, labels), false);
  assert.equal(matchLabels({ label: ['toString'] }, labels), false);
});

test('names match by a part, anchors, dots and stars, in linear time', () => {
  const match = (pattern: string, text: string) => matchText([pattern], text);
  assert.equal(match('eb', 'web1'), true);
  assert.equal(match('^web$', 'web1'), false);
  assert.equal(match('^web1$', 'web1'), true);
  assert.equal(match('^/?web', 'web1'), false);
  assert.equal(match('^w.b', 'web1'), true);
  assert.equal(match('w.*1$', 'web1'), true);
  assert.equal(match('^(a+)+$', `${'a'.repeat(5000)}b`), false);
  assert.equal(match('foo|web', 'web1'), true);
});

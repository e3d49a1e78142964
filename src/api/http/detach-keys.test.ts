import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DetachFilter, parseDetachKeys } from './detach-keys.ts';

function type(keys: string | undefined, ...chunks: string[]): { text: string; detached: boolean } {
  const filter = new DetachFilter(parseDetachKeys(keys));
  let text = '';
  for (const chunk of chunks) {
    const { data, detached } = filter.push(Buffer.from(chunk, 'latin1'));
    text += data.toString('latin1');
    if (detached) return { text, detached };
  }
  return { text, detached: false };
}

test('ctrl-p ctrl-q detaches, also when it comes in two pieces', () => {
  assert.deepEqual(type(undefined, 'ls\x10\x11rest'), { text: 'ls', detached: true });
  assert.deepEqual(type(undefined, 'ls\x10', '\x11'), { text: 'ls', detached: true });
});

test('a begun sequence that is not finished reaches the process', () => {
  assert.deepEqual(type(undefined, '\x10', 'a'), { text: '\x10a', detached: false });
  assert.deepEqual(type(undefined, '\x10\x10\x11'), { text: '\x10', detached: true });
});

test('other keys can be chosen', () => {
  assert.deepEqual(type('x', 'abx'), { text: 'ab', detached: true });
  assert.deepEqual(type('ctrl-a,b', 'a\x01b'), { text: 'a', detached: true });
  assert.throws(() => parseDetachKeys('ctrl-ä'), /neither a character nor ctrl-/);
  assert.throws(() => parseDetachKeys('foo'), /Invalid detach keys/);
});

test('what is typed without the sequence comes out unchanged, however it is cut', () => {
  const byte = fc.constantFrom('a', '\x10', 'b');
  fc.assert(
    fc.property(fc.array(fc.array(byte).map((list) => list.join(''))), (chunks) => {
      const { text, detached } = type(undefined, ...chunks, 'z');
      assert.deepEqual({ text, detached }, { text: `${chunks.join('')}z`, detached: false });
    }),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { frameType } from '../protocol.ts';
import { encodeFields } from './fields.ts';
import { encodeFrame } from './frame-codec.ts';
import { WelcomeFinder } from './welcome-finder.ts';

const nonce = '0123456789abcdef0123456789abcdef';
const payload = encodeFields([
  ['nonce', nonce],
  ['version', '1'],
]);
const welcome = encodeFrame(frameType.welcome, 0, payload);

test('the welcome is found after any rest of an earlier connection', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 9000 }),
      fc.uint8Array({ maxLength: 50 }),
      fc.integer({ min: 1, max: 5000 }),
      (before, after, size) => {
        const stream = Buffer.concat([before, welcome, after]);
        const finder = new WelcomeFinder(nonce);
        for (let at = 0; at < stream.length; at += size) {
          const found = finder.push(stream.subarray(at, at + size));
          if (!found) continue;
          assert.deepEqual(found.payload, payload);
          assert.deepEqual(
            Buffer.concat([found.rest, stream.subarray(at + size)]),
            Buffer.from(after),
            'what came after it is kept',
          );
          return;
        }
        assert.fail('not found');
      },
    ),
  );
});

test('neither another nonce nor another type of frame is a welcome', () => {
  const finder = new WelcomeFinder(nonce);
  const other = encodeFields([['nonce', 'f'.repeat(32)]]);
  assert.equal(finder.push(encodeFrame(frameType.welcome, 0, other)), undefined);
  assert.equal(finder.push(encodeFrame(frameType.stdout, 0, payload)), undefined);
  assert.equal(finder.push(encodeFrame(frameType.welcome, 5, payload)), undefined);
});

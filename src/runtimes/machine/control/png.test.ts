import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { soundPng } from './png.ts';

const signature = Buffer.from('89504e470d0a1a0a', 'hex');

function chunk(type: string, content: Uint8Array = Buffer.alloc(0)): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), content]);
  const whole = Buffer.alloc(named.length + 8);
  whole.writeUInt32BE(content.length, 0);
  whole.set(named, 4);
  whole.writeUInt32BE(crc32(named), whole.length - 4);
  return whole;
}

function header(width: number, height: number, more = [8, 2, 0, 0, 0]): Buffer {
  const content = Buffer.alloc(13);
  content.writeUInt32BE(width, 0);
  content.writeUInt32BE(height, 4);
  content.set(more, 8);
  return chunk('IHDR', content);
}

const pixels = (bytes: number) => chunk('IDAT', deflateSync(Buffer.alloc(bytes)));
const end = chunk('IEND');
const sound = Buffer.concat([signature, header(2, 3), pixels(3 * 7), end]);

test('a sound picture passes as it is; what is not part of it is left out', async () => {
  assert.deepEqual(await soundPng(sound), sound);
  const talkative = Buffer.concat([
    signature,
    header(2, 3),
    chunk('tEXt', Buffer.from('x\0y')),
    pixels(21),
    end,
    Buffer.from('more'),
  ]);
  assert.deepEqual(await soundPng(talkative), sound);
});

test('what is not a sound picture is refused', async () => {
  const wrong: [string, Buffer, RegExp][] = [
    ['nothing', Buffer.alloc(0), /no PNG/],
    ['something else', Buffer.from('GIF89a'), /no PNG/],
    ['a header only', Buffer.concat([signature, header(2, 3)]), /ends too early/],
    ['no header', Buffer.concat([signature, end]), /does not begin with a header/],
    ['two headers', Buffer.concat([signature, header(2, 3), header(2, 3), end]), /two headers/],
    ['no pixels', Buffer.concat([signature, header(2, 3), end]), /unexpected end of file/],
    [
      'too few',
      Buffer.concat([signature, header(2, 3), pixels(20), end]),
      /20 bytes of pixels instead of 21/,
    ],
    ['too many', Buffer.concat([signature, header(2, 3), pixels(22), end]), /22 bytes|larger than/],
    ['a bomb', Buffer.concat([signature, header(2, 3), pixels(200 << 20), end]), /larger than/],
    ['a large bomb', Buffer.concat([signature, header(16_384, 16_384), pixels(1 << 20), end]), /16384 ×/],
    ['huge', Buffer.concat([signature, header(1 << 30, 3), end]), /1073741824 × 3 pixels/],
    ['interlaced', Buffer.concat([signature, header(2, 3, [8, 2, 0, 0, 1]), end]), /of a kind/],
    ['a critical part', Buffer.concat([signature, header(2, 3), chunk('EVIL'), end]), /has a part "EVIL"/],
  ];
  for (const [what, data, message] of wrong) await assert.rejects(soundPng(data), message, what);
});

test('damage anywhere is found', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(sound.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const damaged = Buffer.from(sound);
      damaged[at]! ^= change;
      await assert.rejects(soundPng(damaged));
    }),
  );
});

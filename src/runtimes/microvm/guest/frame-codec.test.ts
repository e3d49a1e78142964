import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIsleError } from '../../../lib/errors.ts';
import { headerSize, maxPayload } from '../protocol.ts';
import { encodeFields, parseFields, type Fields } from './fields.ts';
import { encodeFrame, FrameDecoder, type Frame } from './frame-codec.ts';

const frames = fc.array(
  fc.record(
    {
      type: fc.integer({ min: 0, max: 255 }),
      session: fc.integer({ min: 0, max: 0xffff_ffff }),
      payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    },
    { noNullPrototype: true },
  ),
  { maxLength: 20 },
);

test('frames come out as they went in, however the stream was cut', () => {
  fc.assert(
    fc.property(frames, fc.infiniteStream(fc.integer({ min: 1, max: 200 })), (sent, sizes) => {
      const stream = Buffer.concat(
        sent.map(({ type, session, payload }) => encodeFrame(type, session, payload)),
      );
      assert.deepEqual(decode(cut(stream, sizes)), sent);
    }),
  );
});

test('any bytes are frames, an incomplete one, or refused', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
      try {
        decode(chunks.map((chunk) => Buffer.from(chunk)));
      } catch (error) {
        assert.ok(isIsleError(error, 'guestBroken'), String(error));
      }
    }),
  );
});

test('a frame may be as long as the protocol allows, and no longer', () => {
  const largest = encodeFrame(42, 7, Buffer.alloc(maxPayload, 1));
  assert.equal(decode([largest])[0]?.payload.length, maxPayload);
  assert.throws(() => encodeFrame(42, 7, Buffer.alloc(maxPayload + 1)));
  const header = Buffer.alloc(headerSize);
  header.writeUInt32LE(maxPayload + 1, 0);
  assert.throws(() => decode([header]), { code: 'guestBroken' });
});

test('fields come out as they went in', () => {
  const text = fc
    .string({ unit: 'binary', maxLength: 40 })
    .map((value) => value.replaceAll('\0', '').toWellFormed());
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text)), (fields: Fields) => {
      assert.deepEqual(parseFields(encodeFields(fields)), fields);
    }),
  );
});

test('any payload is a list of fields or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        parseFields(Buffer.from(bytes));
      } catch (error) {
        assert.ok(isIsleError(error, 'guestBroken'), String(error));
      }
    }),
  );
});

test('a value with a NUL is refused before it is sent', () => {
  assert.throws(() => encodeFields([['arg', 'a\0b']]), { code: 'invalidParameter' });
});

function decode(chunks: Buffer[]): Frame[] {
  const decoder = new FrameDecoder();
  return chunks.flatMap((chunk) => [...decoder.push(chunk)]);
}

function cut(stream: Buffer, sizes: Iterable<number>): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    if (at >= stream.length) break;
    chunks.push(stream.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

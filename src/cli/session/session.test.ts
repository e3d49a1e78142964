import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Demultiplexer } from './demultiplex.ts';
import { DetachKeys, parseDetachKeys } from './detach-keys.ts';

function frame(stream: number, payload: string): Buffer {
  const data = Buffer.from(payload);
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

/** The buffer in pieces of the given lengths, the last one taking the rest. */
function pieces(data: Buffer, lengths: number[]): Buffer[] {
  const parts: Buffer[] = [];
  let at = 0;
  for (const length of lengths) {
    parts.push(data.subarray(at, at + length));
    at += length;
  }
  return [...parts, data.subarray(at)];
}

test('frames come apart however the connection cuts them', () => {
  const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.string()));
  fc.assert(
    fc.property(frames, fc.array(fc.nat(12)), (sent, lengths) => {
      let [out, err] = ['', ''];
      const demultiplexer = new Demultiplexer({
        stdout: (data) => (out += data.toString('latin1')),
        stderr: (data) => (err += data.toString('latin1')),
      });
      const wire = Buffer.concat(sent.map(([stream, text]) => frame(stream, text)));
      for (const piece of pieces(wire, lengths)) demultiplexer.write(piece);
      const of = (stream: number) =>
        sent.map(([which, text]) => (which === stream ? Buffer.from(text).toString('latin1') : '')).join('');
      assert.equal(out, of(1));
      assert.equal(err, of(2));
    }),
  );
});

test('an error frame is thrown, a broken stream too', () => {
  const sinks = { stdout: () => {}, stderr: () => {} };
  assert.throws(() => new Demultiplexer(sinks).write(frame(3, 'disk full')), { message: 'disk full' });
  assert.throws(() => new Demultiplexer(sinks).write(Buffer.from('HTTP/1.1 500')), /broken stream/);
});

test('detach keys are read as Docker writes them', () => {
  assert.deepEqual(parseDetachKeys('ctrl-p,ctrl-q'), [16, 17]);
  assert.deepEqual(parseDetachKeys('ctrl-@,a,ctrl-['), [0, 97, 27]);
  assert.deepEqual(parseDetachKeys(''), []);
  assert.throws(() => parseDetachKeys('ctrl-'), /invalid detach keys/);
});

test('detach keys are found across reads; what only looked like them passes', () => {
  const keys = new DetachKeys([16, 17]);
  assert.deepEqual(keys.feed(Buffer.from('ab\x10')), { pass: Buffer.from('ab'), detached: false });
  assert.deepEqual(keys.feed(Buffer.from('c\x10\x10')), { pass: Buffer.from('\x10c\x10'), detached: false });
  assert.deepEqual(keys.feed(Buffer.from('\x11rest')), { pass: Buffer.from(''), detached: true });
});

test('without the keys, every byte passes in order', () => {
  const chunk = fc.uint8Array({ min: 14, max: 18 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.array(chunk), (chunks) => {
      const keys = new DetachKeys([16, 17]);
      const sent = Buffer.concat(chunks);
      let passed = Buffer.alloc(0);
      for (const one of chunks) {
        const { pass, detached } = keys.feed(one);
        passed = Buffer.concat([passed, pass]);
        if (detached) break;
      }
      const at = sent.indexOf(Buffer.from([16, 17]));
      const expected = at < 0 ? sent : sent.subarray(0, at);
      // A trailing 16 may still be waited on.
      const held = at < 0 && sent.at(-1) === 16 ? expected.subarray(0, -1) : expected;
      assert.deepEqual([...passed], [...held]);
    }),
  );
});

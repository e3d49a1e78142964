import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { parseJson, readJson } from './json-body.ts';

test('an empty body is no JSON, and no error', async () => {
  assert.equal(await readJson(Readable.from([Buffer.from(' \n')])), undefined);
});

test('bad JSON is refused with the position where it stops being JSON', () => {
  assert.throws(() => parseJson('{"Image":}'), /at position 9/);
  assert.throws(() => parseJson('{"Image": "x"'), /at position 13/);
  assert.throws(() => parseJson('nope'), /at position 1/);
  assert.throws(() => parseJson('{"a": tru3}'), /at position 9/);
});

test('a body over the limit is refused while it comes', async () => {
  let sent = 0;
  const endless = new Readable({
    read() {
      sent += 65536;
      this.push(Buffer.alloc(65536, 32));
    },
  });
  await assert.rejects(readJson(endless), /larger than/);
  assert.ok(sent < 10 * 1024 * 1024, `read ${sent} bytes`);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { catalogue, errnoOf, isIsleError, isleError } from './errors.ts';

test('an error carries its status and the filled-in message', () => {
  const error = isleError('noSuchImage', { ref: 'a:b' });
  assert.equal(error.status, 404);
  assert.equal(error.message, 'No such image: a:b');
  assert.ok(isIsleError(error, 'noSuchImage'));
  assert.ok(!isIsleError(error, 'noSuchContainer'));
});

test('the cause is kept', () => {
  const cause = Object.assign(new Error('no'), { code: 'ENOENT' });
  assert.equal(isleError('internal', { message: 'x' }, cause).cause, cause);
  assert.equal(errnoOf(cause), 'ENOENT');
});

test('every catalogue entry has an HTTP error status and a message', () => {
  for (const [code, [status, template]] of Object.entries(catalogue)) {
    assert.ok(status >= 400 && status < 600, code);
    assert.ok(template.length > 0, code);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rollback } from './rollback.ts';

test('undos run last first when the operation fails, and the error survives', async () => {
  const ran: string[] = [];
  const run = async () => {
    await using undo = new Rollback();
    undo.add('a', () => ran.push('a'));
    undo.add('b', () => ran.push('b'));
    throw new Error('boom');
  };
  await assert.rejects(run, /boom/);
  assert.deepEqual(ran, ['b', 'a']);
});

test('keep disarms', async () => {
  let ran = false;
  {
    await using undo = new Rollback();
    undo.add('a', () => {
      ran = true;
    });
    undo.keep();
  }
  assert.equal(ran, false);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fields } from './fields.ts';

test('fields are found whatever their case, and null is absent', () => {
  const fields = new Fields({ IMAGE: 'a', cmd: null });
  assert.equal(fields.text('Image'), 'a');
  assert.equal(fields.command('Cmd'), undefined);
});

test('a wrong type is refused with its path', () => {
  const fields = new Fields({ HostConfig: { Memory: 'x', Binds: [1] } });
  const host = fields.object('HostConfig')!;
  assert.throws(() => host.integer('Memory'), /HostConfig.Memory must be a whole number, not string/);
  assert.throws(() => host.texts('Binds'), /HostConfig.Binds\[0\] must be a text, not number/);
  assert.throws(() => new Fields([]), /the request body must be an object, not a list/);
});

test('a command may be a single text', () => {
  assert.deepEqual(new Fields({ Cmd: 'sh' }).command('Cmd'), ['sh']);
  assert.deepEqual(new Fields({ Cmd: ['sh', '-c'] }).command('Cmd'), ['sh', '-c']);
});

test('an unsupported field is refused unless it says nothing', () => {
  const fields = new Fields({ A: 0, B: '', C: [], D: { x: null }, E: 1 }, 'HostConfig');
  fields.refuse('A', 'B', 'C', 'D', 'F');
  assert.throws(() => fields.refuse('E'), /the field HostConfig.E is not supported/);
});

test('keys named like parts of every object are only keys', () => {
  const parsed = JSON.parse('{"Labels":{"__proto__":"x","constructor":"y"}}') as object;
  const labels = new Fields(parsed).textMap('Labels');
  assert.equal(Object.getPrototypeOf(labels), Object.prototype);
  assert.equal(Object.hasOwn(labels, '__proto__'), true);
});

test('a NUL never gets in', () => {
  assert.throws(() => new Fields({ a: 'x\0' }).text('a'), /NUL/);
  assert.throws(() => new Fields({ a: ['x\0'] }).texts('a'), /NUL/);
  assert.throws(() => new Fields({ a: { b: 'x\0' } }).textMap('a'), /NUL/);
});

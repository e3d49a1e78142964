import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseMountTable } from './mount-table.ts';

test('a line of mountinfo becomes its fields', () => {
  const line = String.raw`36 35 98:0 /mnt1 /mnt\0402\134x rw,noatime master:1 shared:7 - ext3 /dev/root\011a rw,errors=continue`;
  assert.deepEqual(parseMountTable(`${line}\n`), [
    {
      id: 36,
      parentId: 35,
      device: '98:0',
      root: '/mnt1',
      target: '/mnt 2\\x',
      options: ['rw', 'noatime'],
      propagation: ['master:1', 'shared:7'],
      type: 'ext3',
      source: '/dev/root\ta',
      superOptions: ['rw', 'errors=continue'],
    },
  ]);
});

test('UTF-8 names are read as such, others keep their bytes', () => {
  const text = Buffer.from('1 0 0:1 / /ö rw - tmpfs none rw\n1 0 0:1 / /x rw - tmpfs none rw\n').toString(
    'latin1',
  );
  assert.equal(parseMountTable(text)[0]?.target, '/ö');
  assert.equal(parseMountTable('1 0 0:1 / /\xff rw - tmpfs none rw')[0]?.target, '/\xff');
});

test('no line breaks the parser', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const entry of parseMountTable(text)) assert.equal(typeof entry.target, 'string');
    }),
  );
});

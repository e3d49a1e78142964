import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseVmdkDescriptor } from './vmdk-descriptor.ts';

test('a line of a million characters is read once', () => {
  const spaces = ' '.repeat(500_000);
  const { createType, hasParent } = parseVmdkDescriptor(
    `createType="${spaces}monolithicFlat" \nparentFileNameHint=${spaces}"x"y\n`,
  );
  assert.deepEqual([createType, hasParent], ['monolithicFlat', true]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MachineSnapshotBody } from '../client/machine-types.ts';
import { treeOf } from './snapshots.ts';

function snapshot(Name: string, Parent?: string, Current = false): MachineSnapshotBody {
  return { Name, Comment: '', CreatedAt: '', Memory: false, Current, Disks: [], ...(Parent && { Parent }) };
}

test('snapshots are shown as the tree that they are', () => {
  const all = [
    snapshot('a'),
    snapshot('b', 'a'),
    snapshot('c', 'b'),
    snapshot('d', 'a', true),
    snapshot('e', 'd'),
    snapshot('lost', 'gone'),
  ];
  assert.deepEqual(treeOf(all), ['a', '├── b', '│   └── c', '└── d (current)', '    └── e', 'lost']);
  assert.deepEqual(treeOf([]), []);
});

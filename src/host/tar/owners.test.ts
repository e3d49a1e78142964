import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TarEntry } from '../../lib/tar/entry.ts';
import { Owners } from './owners.ts';

const map = { hostId: 1_900_000_000, size: 65_536 };
const owners = new Owners(map);

function entry(uid: number, gid: number, xattrs: [string, Buffer][] = []): TarEntry {
  return {
    type: 'file',
    name: 'file',
    linkName: '',
    mode: 0o644,
    uid,
    gid,
    userName: '',
    groupName: '',
    size: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: new Map(xattrs),
  };
}

/** `root` undefined: version 2. */
function capability(root?: number): Buffer {
  const value = Buffer.alloc(root === undefined ? 20 : 24);
  value.writeUInt32LE(root === undefined ? 0x0200_0001 : 0x0300_0001, 0);
  value.writeUInt32LE(0x400, 4);
  if (root !== undefined) value.writeUInt32LE(root, 20);
  return value;
}

test('what goes in comes out, owners and attributes alike', () => {
  const id = fc.integer({ min: 0, max: map.size - 1 });
  fc.assert(
    fc.property(id, id, id, fc.uint8Array({ maxLength: 40 }), (uid, gid, other, bytes) => {
      const list = Buffer.alloc(20);
      list.writeUInt32LE(2, 0);
      list.writeUInt16LE(0x02, 4);
      list.writeUInt32LE(other, 8);
      list.writeUInt16LE(0x20, 12);
      list.writeUInt32LE(0xffff_ffff, 16);
      const attributes: [string, Buffer][] = [
        ['security.capability', other === 0 ? capability() : capability(other)],
        ['system.posix_acl_access', list],
        ['user.anything', Buffer.from(bytes)],
      ];
      const there = entry(uid, gid, attributes);
      owners.toHost(there);
      assert.deepEqual([there.uid, there.gid], [map.hostId + uid, map.hostId + gid]);
      owners.toInside(there);
      assert.deepEqual(there, entry(uid, gid, attributes));
    }),
  );
});

test('capabilities of an image hold for the root of the namespace that reads them', () => {
  const one = entry(0, 0, [['security.capability', capability()]]);
  owners.toHost(one);
  assert.deepEqual(one.xattrs.get('security.capability'), capability(map.hostId));
});

test('who has no id inside is nobody there, and what they granted is nothing', () => {
  const host = entry(0, 1000, [['security.capability', capability(map.hostId + map.size)]]);
  owners.toInside(host);
  assert.deepEqual([host.uid, host.gid, host.xattrs.size], [65_534, 65_534, 0]);
  for (const wrong of [map.size, 0xffff_fffe])
    assert.throws(() => owners.toHost(entry(wrong, 0)), /does not exist in the container's user namespace/);
});

test('attributes that make no sense pass as they are, or are cut, and never throw', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      fc.constantFrom('security.capability', 'system.posix_acl_default'),
      (bytes, key) => owners.toInside(entry(map.hostId, map.hostId, [[key, Buffer.from(bytes)]])),
    ),
  );
});

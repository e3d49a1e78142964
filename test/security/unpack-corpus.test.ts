import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openTree, tree, xattrsOf } from '../../src/host/tree.ts';
import { createUnpacker, type Unpacker } from '../../src/images/unpack/unpack.ts';
import { makeCanary, type Canary } from '../fixtures/canary.ts';
import { archive, directory, link, member, patched, pax, symlink } from '../fixtures/hostile-tar.ts';

let base: string;
let canary: Canary;
let untouched: string;
let unpacker: Unpacker;
let count = 0;

before(() => {
  base = mkdtempSync(join(tmpdir(), 'isle-attack-'));
  canary = makeCanary(join(base, 'canary'));
  untouched = canary.state();
  unpacker = createUnpacker({ threads: 1 });
});

after(async () => {
  await unpacker.close();
  rmSync(base, { recursive: true, force: true });
});

/** Unpacks into a fresh root two levels below the canary's parent, and looks at the canary afterwards. */
async function unpack(layer: Buffer): Promise<string> {
  const root = join(base, `work${++count}`, 'root');
  mkdirSync(root, { recursive: true });
  const path = join(base, `blob${count}`);
  writeFileSync(path, layer);
  try {
    await unpacker.unpack({ blob: { path, size: layer.length }, target: root });
    return root;
  } finally {
    assert.equal(canary.state(), untouched, 'the canary');
    assert.deepEqual(readdirSync(join(root, '..')), ['root'], 'nothing beside the root');
  }
}

function refuses(name: string, why: RegExp, ...members: (Buffer | (() => Buffer))[]): void {
  test(`refused: ${name}`, async () => {
    const built = members.map((one) => (typeof one === 'function' ? one() : one));
    await assert.rejects(unpack(archive(...built)), why);
  });
}

function holds(name: string, members: () => Buffer[], check: (root: string) => void): void {
  test(`harmless: ${name}`, async () => check(await unpack(archive(...members()))));
}

const outside = (): string => canary.path;

refuses('a name that climbs out', /leads out of the root/, member('../../canary/secret', {}, 'x'));
refuses(
  'a name that climbs out in the middle',
  /leads out of the root/,
  member('a/../../canary/secret', {}, 'x'),
);
refuses(
  'a PAX path that climbs out',
  /leads out of the root/,
  pax(['path', 'a/../../../canary/x']),
  member('x', {}, 'x'),
);
refuses('a directory that climbs out', /leads out of the root/, directory('../../canary/'));
refuses(
  'a hard link to a name that climbs out',
  /leads out of the root/,
  link('stolen', '../../canary/secret'),
);
refuses('a hard link to an absolute host path', /link/, () => link('stolen', join(outside(), 'secret')));
refuses(
  'a hard link through a symlink',
  /link/,
  () => symlink('out', outside()),
  link('stolen', 'out/secret'),
);
refuses('a hard link to nothing', /ENOENT/, link('stolen', 'missing'));
refuses('a hard link without a target', /no target/, link('stolen', '/'));
refuses('a whiteout of the parent', /deletes a parent directory/, directory('a/'), member('a/.wh...'));
refuses(
  'a whiteout of the directory itself',
  /deletes a parent directory/,
  directory('a/'),
  member('a/.wh..'),
);
refuses('a whiteout of nothing', /deletes a parent directory/, member('.wh.'));
refuses('a whiteout in a directory outside', /leads out of the root/, member('../../canary/.wh.secret'));
refuses('a root that is a symlink', /root is not a directory/, symlink('./', '/'));
refuses('a root that is a device', /root is not a directory/, member('/', { type: 'char' }));
refuses('a name with a NUL', /NUL/, pax(['path', 'a\0b']), member('x'));
refuses('an empty symlink', /no target/, symlink('a', ''));
refuses('an owner that wraps around', /out of range/, pax(['uid', '4294967295']), member('a'));
refuses('an owner beyond 32 bits', /out of range/, pax(['gid', '4294967296']), member('a'));
refuses('a negative size', /size is negative/, () => patched(member('a'), (raw) => raw.fill(0xff, 124, 136)));
refuses('a negative PAX size', /size is not a valid number/, pax(['size', '-1']), member('a'));
refuses('a size beyond the file', /ends in the middle/, member('a', { size: 1 << 30 }));
refuses('a size beyond all disks', /ends in the middle/, pax(['size', '8999999999999999']), member('a'));
refuses(
  'a sparse file beyond all disks',
  /EFBIG|EINVAL/,
  pax(['GNU.sparse.map', ''], ['GNU.sparse.size', '9007199254740991']),
  member('a'),
);
refuses(
  'overlapping sparse segments',
  /sparse map is malformed/,
  pax(['GNU.sparse.map', '0,4,2,4'], ['GNU.sparse.size', '9']),
  member('a', {}, '12345678'),
);
refuses('a giant PAX header', /exceeds the limit/, () =>
  patched(member('x', { size: 1 << 30 }), (raw) => void raw.write('x', 156, 'latin1')),
);
refuses('a giant GNU long name', /exceeds the limit/, () =>
  patched(member('x', { size: 1 << 28 }), (raw) => void raw.write('L', 156, 'latin1')),
);
refuses('a path of a megabyte', /too long/, pax(['path', 'x/'.repeat(400_000)]), member('a'));
refuses('a name longer than the file system takes', /ENAMETOOLONG/, member('x'.repeat(300), {}, 'x'));
refuses(
  'a device number beyond the kernel’s',
  /device number is out of range/,
  member('dev', { type: 'char', devMajor: 0o77777, devMinor: 0 }),
);
refuses('a member of an unknown type', /type "M" are not supported/, () =>
  patched(member('x'), (raw) => void raw.write('M', 156, 'latin1')),
);
refuses('a file below a file', /ENOTDIR/, member('a', {}, 'x'), member('a/b', {}, 'x'));
refuses('a symlink loop as a parent', /ELOOP/, symlink('a', 'b'), symlink('b', 'a'), member('a/x', {}, 'x'));
refuses('a dangling symlink as a parent', /ENOENT/, symlink('a', 'nowhere'), member('a/x', {}, 'x'));

test('refused: an archive cut short, damaged or of rubbish', async () => {
  const layer = archive(member('a', {}, 'x'.repeat(2000)));
  await assert.rejects(unpack(layer.subarray(0, 1000)), /ends in the middle/);
  await assert.rejects(unpack(gzipSync(layer).subarray(0, 60)), /damaged/);
  await assert.rejects(unpack(Buffer.alloc(5000, 'rubbish')), /wrong checksum|not an octal/);
  const crc = gzipSync(layer);
  crc[crc.length - 6]! ^= 0xff;
  await assert.rejects(unpack(crc), /damaged/);
});

holds(
  'an absolute name starts at the root',
  () => [member(join(outside(), 'secret'), {}, 'mine')],
  (root) => assert.equal(readFileSync(join(root, outside(), 'secret'), 'utf8'), 'mine'),
);
holds(
  'a symlink out of the root is kept, and followed inside only',
  () =>
    [
      symlink('out', '/etc'),
      symlink('up', '../../../..'),
      member('out/x', {}, 'x'),
      member('up/y', {}, 'y'),
    ].toSpliced(2, 0, directory('etc/')),
  (root) => {
    assert.ok(lstatSync(join(root, 'out')).isSymbolicLink());
    assert.equal(readFileSync(join(root, 'etc/x'), 'utf8'), 'x');
    assert.equal(readFileSync(join(root, 'y'), 'utf8'), 'y');
  },
);
holds(
  'a directory that is swapped for a symlink between two members',
  () => [
    directory('d/'),
    member('d/inside', {}, 'x'),
    symlink('d', outside()),
    directory(`${outside()}/`),
    member('d/after', {}, 'x'),
  ],
  (root) => assert.ok(existsSync(join(root, outside(), 'after'))),
);
holds(
  'a file over a symlink replaces it',
  () => [symlink('a', join(outside(), 'secret')), member('a', {}, 'mine')],
  (root) => assert.equal(readFileSync(join(root, 'a'), 'utf8'), 'mine'),
);
holds(
  'a directory over a symlink replaces it',
  () => [symlink('a', outside()), directory('a/', { mode: 0o777 }), member('a/x', {}, 'x')],
  (root) => assert.ok(lstatSync(join(root, 'a')).isDirectory()),
);
holds(
  'a hard link to a symlink is a link to that, and writing over it replaces it',
  () => [symlink('a', join(outside(), 'secret')), link('b', 'a'), member('b', {}, 'mine')],
  (root) => assert.equal(readFileSync(join(root, 'b'), 'utf8'), 'mine'),
);
holds(
  'a hard link to itself loses nothing',
  () => [member('a', {}, 'kept'), link('a', 'a')],
  (root) => assert.equal(readFileSync(join(root, 'a'), 'utf8'), 'kept'),
);
holds(
  'a device is only data',
  () => [member('disk', { type: 'block', devMajor: 8, devMinor: 0, mode: 0o666 })],
  (root) => assert.ok(lstatSync(join(root, 'disk')).isBlockDevice()),
);
holds(
  'a FIFO in the way of a file is replaced and never opened',
  () => [member('pipe', { type: 'fifo' }), member('pipe', {}, 'x')],
  (root) => assert.equal(readFileSync(join(root, 'pipe'), 'utf8'), 'x'),
);
holds(
  'entries that come again: the last counts',
  () => [member('a', {}, 'one'), directory('a/'), member('a/b', {}, 'x'), member('a', {}, 'two')],
  (root) => assert.equal(readFileSync(join(root, 'a'), 'utf8'), 'two'),
);
holds(
  'names that differ only in case stay apart',
  () => [member('readme', {}, 'a'), member('README', {}, 'b')],
  (root) => assert.deepEqual(readdirSync(root).sort(), ['README', 'readme']),
);
holds(
  'xattrs with any bytes arrive as they are; those of overlayfs never',
  () => [
    member('a', {
      xattrs: new Map([
        ['user.bytes', Buffer.from([0, 10, 61, 255])],
        ['security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex')],
        ['trusted.overlay.redirect', Buffer.from('/../../etc')],
        ['trusted.overlay.metacopy', Buffer.from('')],
        ['user.overlay.opaque', Buffer.from('y')],
      ]),
    }),
  ],
  (root) => {
    const rootFd = openTree(root);
    const fd = tree.treeOpen(rootFd, 'a', 0, 0, 0);
    const xattrs = xattrsOf(fd, 'a');
    assert.deepEqual(
      [...xattrs.keys()].sort((a, b) => a.localeCompare(b)),
      ['security.capability', 'user.bytes'],
    );
    assert.deepEqual(xattrs.get('user.bytes'), Buffer.from([0, 10, 61, 255]));
    for (const one of [fd, rootFd]) tree.treeClose(one);
  },
);
holds(
  'a setuid file keeps its bits, and lies where no user of the host can reach it',
  () => [member('su', { mode: 0o6755 }, 'x')],
  (root) => assert.equal(statSync(join(root, 'su')).mode & 0o7777, 0o6755),
);
holds(
  'a whiteout hides a name of its own layer from below only',
  () => [member('.wh.a'), member('a', {}, 'x')],
  (root) => assert.equal(readFileSync(join(root, 'a'), 'utf8'), 'x'),
);
holds(
  'a directory with a size, and a link with one, have no content',
  () => [
    patched(directory('d/'), (raw) => void raw.write('00000001000\0', 124, 'latin1')),
    member('next', {}, 'x'),
  ],
  (root) => assert.equal(readFileSync(join(root, 'next'), 'utf8'), 'x'),
);

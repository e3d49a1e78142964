import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { linkSync, mkdtempSync, symlinkSync, truncateSync, utimesSync, chownSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { TarReader } from '../../lib/tar/reader.ts';
import { padding, storedSize, tarEnd, tarHeader } from '../../lib/tar/writer.ts';
import type { TarEntry } from '../../lib/tar/entry.ts';
import { openTree, tree, xattrsOf } from '../tree.ts';
import { TarExtractor } from './extract.ts';
import { TreeWalker } from './walk.ts';

/** A tree with everything that a tar can carry. */
function makeTree(t: TestContext): { base: string; tree: string } {
  const base = mkdtempSync(join(tmpdir(), 'isle-tar-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const root = join(base, 'tree');
  const deep = join(root, 'directory', 'x'.repeat(120), 'y'.repeat(120));
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, 'name that is long '.repeat(8)), 'deep');
  writeFileSync(join(root, 'ünïcode'), 'text');
  writeFileSync(Buffer.concat([Buffer.from(`${root}/raw-`), Buffer.from([0xff, 0xfe])]), 'bytes');
  writeFileSync(join(root, 'setuid'), 'x', { mode: 0o755 });
  chownSync(join(root, 'setuid'), 3_000_000, 4_000_000);
  chmodSync(join(root, 'setuid'), 0o6755);
  linkSync(join(root, 'setuid'), join(root, 'twin'));
  symlinkSync('../'.repeat(60) + 'far/away', join(root, 'symlink'));
  writeFileSync(join(root, 'holes'), Buffer.alloc(10_000, 7));
  truncateSync(join(root, 'holes'), 40_000_000);
  execFileSync('mkfifo', [join(root, 'fifo')]);
  execFileSync('mknod', [join(root, 'device'), 'c', '5', '300']);
  writeFileSync(join(root, 'empty'), '');
  writeFileSync(join(root, 'large'), Buffer.alloc(3_000_001, 'abc'));
  utimesSync(join(root, 'large'), 1, 1234567890.123456);
  const fd = tree.treeOpen(openTree(root), 'empty', 0, 0, 0);
  tree.treeSetXattr(
    fd,
    'security.capability',
    Buffer.from('0100000200040000000000000000000000000000', 'hex'),
  );
  tree.treeSetXattr(fd, 'user.binary', Buffer.from([0, 1, 10, 61, 255, 0]));
  tree.treeClose(fd);
  return { base, tree: root };
}

type Node = Record<string, unknown>;

/** Everything about a tree that an archive must keep. */
function describe(root: string): Record<string, Node> {
  const found: Record<string, Node> = {};
  const firstByInode = new Map<number, string>();
  const visit = (directory: Buffer, prefix: string): void => {
    for (const name of readdirSync(directory, { encoding: 'buffer' }).sort((a, b) => a.compare(b))) {
      const path = Buffer.concat([directory, Buffer.from('/'), name]);
      const info = lstatSync(path, { bigint: true });
      const key = `${prefix}/${name.toString('latin1')}`;
      const node: Node = { mode: info.mode, owner: [info.uid, info.gid], mtime: info.mtimeNs };
      if (info.isFile()) {
        const first = firstByInode.get(Number(info.ino));
        if (first === undefined) firstByInode.set(Number(info.ino), key);
        Object.assign(node, {
          content: createHash('sha256').update(readFileSync(path)).digest('hex'),
          linkedTo: first,
        });
        const fd = tree.treeOpen(-100, path.toString('latin1'), 0, 0, 0);
        node.xattrs = Object.fromEntries(xattrsOf(fd, key));
        tree.treeClose(fd);
      }
      if (info.isSymbolicLink()) node.target = readlinkSync(path, { encoding: 'latin1' });
      if (info.isCharacterDevice()) node.device = info.rdev;
      found[key] = node;
      if (info.isDirectory()) visit(path, key);
    }
  };
  visit(Buffer.from(root), '');
  return found;
}

function pack(root: string): Buffer {
  const parts: Buffer[] = [];
  const fd = openTree(root);
  let entry: TarEntry | undefined;
  for (const step of new TreeWalker().walk(fd, '', '')) {
    if (step.kind === 'entry')
      parts.push(tarHeader((entry = step.entry.name === '' ? { ...step.entry, name: './' } : step.entry)));
    else if (step.kind === 'data') parts.push(Buffer.from(step.chunk));
    else parts.push(padding(storedSize(entry!)));
  }
  tree.treeClose(fd);
  return Buffer.concat([...parts, tarEnd()]);
}

function extract(archive: Buffer, target: string): void {
  mkdirSync(target);
  const fd = openTree(target);
  {
    using extractor = new TarExtractor(fd, { whiteouts: false });
    const reader = new TarReader(extractor);
    for (let at = 0; at < archive.length; at += 100_000) reader.push(archive.subarray(at, at + 100_000));
    reader.end();
    extractor.finish();
  }
  tree.treeClose(fd);
}

/** Old formats have whole seconds and no xattrs. */
function coarse(nodes: Record<string, Node>): Record<string, Node> {
  return Object.fromEntries(
    Object.entries(nodes).map(([key, node]) => [
      key,
      { ...node, mtime: (node.mtime as bigint) / 1_000_000_000n, xattrs: undefined },
    ]),
  );
}

test('what Isle packs, Isle extracts with nothing lost, holes included', (t) => {
  const made = makeTree(t);
  const archive = pack(made.tree);
  assert.ok(archive.length < 5_000_000, `${archive.length} bytes: holes are not stored`);
  extract(archive, join(made.base, 'out'));
  assert.deepEqual(describe(join(made.base, 'out')), describe(made.tree));
  assert.ok(lstatSync(join(made.base, 'out/holes')).blocks < 100);
});

test('what Isle packs, GNU tar and bsdtar extract', (t) => {
  const made = makeTree(t);
  writeFileSync(join(made.base, 'a.tar'), pack(made.tree));
  for (const [tool, ...options] of [
    ['tar', '--xattrs', '--xattrs-include=*', '-xpf'],
    ['bsdtar', '--xattrs', '-xpf'],
  ] as [string, ...string[]][]) {
    const out = join(made.base, tool);
    mkdirSync(out);
    execFileSync(tool, [...options, join(made.base, 'a.tar'), '-C', out], {
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    });
    assert.deepEqual(describe(out), describe(made.tree), tool);
  }
});

test('what GNU tar and bsdtar pack, in each of their formats, Isle extracts', (t) => {
  const made = makeTree(t);
  const whole = describe(made.tree);
  const cases: [string, string[], 'whole' | 'coarse'][] = [
    ['tar', ['--format=posix', '--xattrs', '--xattrs-include=*'], 'whole'],
    [
      'tar',
      ['--format=posix', '--xattrs', '--xattrs-include=*', '--sparse', '--sparse-version=0.0'],
      'whole',
    ],
    [
      'tar',
      ['--format=posix', '--xattrs', '--xattrs-include=*', '--sparse', '--sparse-version=0.1'],
      'whole',
    ],
    [
      'tar',
      ['--format=posix', '--xattrs', '--xattrs-include=*', '--sparse', '--sparse-version=1.0'],
      'whole',
    ],
    ['tar', ['--format=gnu', '--sparse'], 'coarse'],
    ['tar', ['--format=gnu'], 'coarse'],
    ['bsdtar', ['--format=pax', '--xattrs'], 'whole'],
    ['bsdtar', ['--format=gnutar'], 'coarse'],
  ];
  for (const [at, [tool, options, kept]] of cases.entries()) {
    const archive = execFileSync(tool, [...options, '-cf', '-', '-C', made.tree, '.'], {
      maxBuffer: 1 << 27,
    });
    const out = join(made.base, `out${at}`);
    extract(archive, out);
    const expected = kept === 'whole' ? whole : coarse(whole);
    const actual = kept === 'whole' ? describe(out) : coarse(describe(out));
    assert.deepEqual(actual, expected, `${tool} ${options.join(' ')}`);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TarError, type TarEntry } from './entry.ts';
import { formatPax, formatPaxTime, parsePax, parsePaxTime } from './pax.ts';
import { TarReader } from './reader.ts';
import { padding, storedSize, tarEnd, tarHeader } from './writer.ts';

interface Member {
  entry: TarEntry;
  /** The segments of the file, as they were read. */
  data: [position: number, bytes: string][];
}

/** Reads `archive` in pieces of `size` bytes. */
function read(archive: Buffer, size = archive.length): Member[] {
  const members: Member[] = [];
  const reader = new TarReader({
    entry: (entry) => void members.push({ entry: structuredCloneEntry(entry), data: [] }),
    data(chunk, position) {
      const { data } = members.at(-1)!;
      const last = data.at(-1);
      const bytes = chunk.toString('latin1');
      if (last && last[0] + last[1].length === position) last[1] += bytes;
      else data.push([position, bytes]);
    },
    endEntry() {},
  });
  for (let at = 0; at < archive.length; at += Math.max(1, size))
    reader.push(archive.subarray(at, at + Math.max(1, size)));
  reader.end();
  return members;
}

function structuredCloneEntry(entry: TarEntry): TarEntry {
  return { ...entry, mtime: { ...entry.mtime }, xattrs: new Map(entry.xattrs) };
}

function write(members: Member[]): Buffer {
  const parts = members.flatMap(({ entry, data }) => {
    const content = Buffer.from(data.map(([, bytes]) => bytes).join(''), 'latin1');
    assert.equal(content.length, storedSize(entry));
    return [tarHeader(entry), content, padding(content.length)];
  });
  return Buffer.concat([...parts, tarEnd()]);
}

const bytes = (options: { min: number; max: number }) =>
  fc
    .uint8Array({ minLength: options.min, maxLength: options.max })
    .map((array) => Buffer.from(array).toString('latin1').replaceAll('\0', '\x01'));
// Not ending in a slash: that makes a directory of what has no type of its own.
const name = bytes({ min: 1, max: 300 }).map((text) => text.replace(/\/+$/, '') || 'x');
const time = fc
  .tuple(fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), fc.integer({ min: 0, max: 999_999_999 }))
  .map(([seconds, nanoseconds]) => ({ seconds, nanoseconds }));
const id = fc.oneof(fc.integer({ min: 0, max: 0o7777777 }), fc.integer({ min: 0, max: 2 ** 32 - 2 }));
const xattrs = fc
  .dictionary(
    fc.stringMatching(/^(user|security)\.[a-z.]{1,20}$/),
    fc.uint8Array({ maxLength: 100 }).map((array) => Buffer.from(array)),
    { maxKeys: 4 },
  )
  .map((entries) => new Map(Object.entries(entries)));

const common = { name, mode: fc.integer({ min: 0, max: 0o7777 }), uid: id, gid: id, mtime: time, xattrs };
const rest = { linkName: '', userName: '', groupName: '', size: 0, devMajor: 0, devMinor: 0 };

const file = fc.record({ ...common, content: bytes({ min: 0, max: 2000 }) }).map(
  ({ content, ...entry }): Member => ({
    entry: { ...rest, ...entry, type: 'file', size: content.length },
    data: content === '' ? [] : [[0, content]],
  }),
);
const sparse = fc
  .record({
    ...common,
    segments: fc.array(fc.tuple(fc.integer({ min: 1, max: 10_000 }), bytes({ min: 1, max: 600 })), {
      minLength: 1,
      maxLength: 40,
    }),
    tail: fc.integer({ min: 0, max: 10_000 }),
  })
  .map(({ segments, tail, ...entry }): Member => {
    const data: Member['data'] = [];
    let at = 0;
    for (const [gap, content] of segments) {
      data.push([at + gap, content]);
      at += gap + content.length;
    }
    const map = data.flatMap(([position, content]) => [position, content.length]);
    return { entry: { ...rest, ...entry, type: 'file', size: at + tail, sparse: map }, data };
  });
const other = fc
  .record({
    ...common,
    type: fc.constantFrom('directory', 'symlink', 'link', 'char', 'block', 'fifo'),
    target: name,
    devMajor: fc.integer({ min: 0, max: 0o7777777 }),
    devMinor: fc.integer({ min: 0, max: 0o7777777 }),
  })
  .map(({ type, target, devMajor, devMinor, ...entry }): Member => {
    const device = type === 'char' || type === 'block' ? { devMajor, devMinor } : {};
    const linkName = type === 'symlink' || type === 'link' ? target : '';
    const made: TarEntry = { ...rest, ...entry, ...device, type, linkName };
    return { entry: type === 'directory' ? { ...made, name: `${made.name}/` } : made, data: [] };
  });

test('what is written is read again, however it is cut into pieces', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(file, sparse, other), { maxLength: 8 }),
      fc.integer({ min: 1, max: 3000 }),
      (members, size) => {
        assert.deepEqual(read(write(members), size), members);
      },
    ),
    { numRuns: 200 },
  );
});

test('no bytes make the reader do anything but read or throw TarError', () => {
  const archive = write(fc.sample(fc.oneof(file, sparse, other), { numRuns: 12, seed: 7 }));
  const damage = fc.array(fc.tuple(fc.nat(archive.length - 1), fc.integer({ min: 0, max: 255 })), {
    maxLength: 6,
  });
  fc.assert(
    fc.property(damage, fc.nat(archive.length), (changes, cut) => {
      const copy = Buffer.from(archive.subarray(0, cut));
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
      try {
        read(copy, 700);
      } catch (error) {
        assert.ok(error instanceof TarError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test('PAX records and times survive their text', () => {
  const record = fc.tuple(fc.stringMatching(/^[A-Za-z.]{1,30}$/), bytes({ min: 0, max: 200 }));
  fc.assert(
    fc.property(fc.array(record), time, (records, when) => {
      assert.deepEqual(parsePax(formatPax(records)), records);
      assert.deepEqual(parsePaxTime(formatPaxTime(when)), when);
    }),
  );
});

function header(fields: Partial<TarEntry>, patch: (block: Buffer) => void): Buffer {
  const block = tarHeader({
    ...rest,
    type: 'file',
    name: 'x',
    mode: 0,
    uid: 0,
    gid: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    xattrs: new Map(),
    ...fields,
  });
  patch(block);
  block.write('        ', 148, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

test('sizes that are negative, enormous or no numbers are refused', () => {
  const base256 = (value: bigint) => (block: Buffer) => {
    for (let i = 0; i < 12; i++) block[135 - i] = Number((value >> BigInt(8 * i)) & 0xffn);
    block[124]! |= 0x80;
  };
  const cases: [(block: Buffer) => void, RegExp][] = [
    [base256(1n << 90n), /size is out of range/],
    [base256(-5n & ((1n << 96n) - 1n)), /size is negative/],
    [(block) => void block.write('-0000000005\0', 124, 'latin1'), /size is not an octal number/],
    [(block) => void block.write('99999999999\0', 124, 'latin1'), /size is not an octal number/],
  ];
  for (const [patch, why] of cases) assert.throws(() => read(header({}, patch)), why);
  const wrong = tarHeader({
    ...rest,
    type: 'file',
    name: 'x',
    mode: 0,
    uid: 0,
    gid: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    xattrs: new Map(),
  });
  wrong[0]! ^= 1;
  assert.throws(() => read(wrong), /wrong checksum/);
});

test('a header that would fill the memory is refused before it is read', () => {
  for (const flag of ['x', 'g', 'L', 'K']) {
    const block = header({ size: 1 << 30 }, (raw) => void raw.write(flag, 156, 'latin1'));
    assert.throws(() => read(block), /1073741824 bytes exceeds the limit/);
  }
  const many = (flag: string, content: Buffer) =>
    Buffer.concat([
      header({ size: content.length }, (raw) => void raw.write(flag, 156, 'latin1')),
      content,
      padding(content.length),
    ]);
  const global = many('g', formatPax([['comment', 'x'.repeat(400_000)]]));
  assert.throws(() => read(Buffer.concat([global, global, global])), /global headers exceed/);
});

test('malformed PAX and sparse records are refused', () => {
  const pax = (...records: [string, string][]): Buffer => {
    const content = formatPax(records);
    return Buffer.concat([
      header({ size: content.length }, (raw) => void raw.write('x', 156, 'latin1')),
      content,
      padding(content.length),
    ]);
  };
  const next = header({ size: 10 }, () => {});
  const cases: [Buffer, RegExp][] = [
    [pax(['size', '-1']), /size is not a valid number/],
    [pax(['size', '99999999999999999999']), /size is not a valid number/],
    [pax(['path', 'a\0b']), /contains a NUL/],
    [pax(['mtime', 'yesterday']), /time in a PAX record/],
    [pax(['GNU.sparse.map', '0,5,3,5'], ['GNU.sparse.size', '100']), /sparse map is malformed/],
    [pax(['GNU.sparse.map', '0,5'], ['GNU.sparse.size', '100']), /does not match its data/],
    [pax(['GNU.sparse.map', '0,50,60,10'], ['GNU.sparse.size', '5']), /sparse map is malformed/],
    [pax(['GNU.sparse.map', '0'], ['GNU.sparse.size', '5']), /sparse map is malformed/],
    [pax(['GNU.sparse.map', '0,10']), /has no size/],
  ];
  for (const [first, why] of cases)
    assert.throws(() => read(Buffer.concat([first, next, Buffer.alloc(512)])), why);
  for (const text of ['9999999 a=b\n', '5 a=b\n', '3\n\n', 'x a=b\n', '6 a=bc'])
    assert.throws(() => parsePax(Buffer.from(text)), TarError);
});

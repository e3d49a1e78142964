import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { decompressed } from './decompress.ts';

const plain = Buffer.concat([randomBytes(300_000), Buffer.alloc(3_000_000), Buffer.from('end')]);
const by = (program: string, ...args: string[]): Buffer =>
  execFileSync(program, ['-c', ...args], { input: plain, maxBuffer: 1 << 30 });

async function undo(packed: Buffer, size = 50_000): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of decompressed(inPieces(packed, size))) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test('gzip, bzip2, xz, zstd and plain come out the same, in pieces of any size', async () => {
  const packed = {
    plain,
    gzip: gzipSync(plain),
    zstd: zstdCompressSync(plain),
    xz: by('xz', '-T2', '--block-size=1MiB'),
    'xz -9e': by('xz', '-9e'),
    'two xz': Buffer.concat([by('xz', '-0')]),
    bzip2: by('bzip2'),
  };
  for (const [name, bytes] of Object.entries(packed)) assert.ok((await undo(bytes)).equals(plain), name);
  assert.ok((await undo(packed.xz, 7)).equals(plain), 'in pieces of 7 bytes');
  assert.equal((await undo(execFileSync('bzip2', ['-c'], { input: '' }))).length, 0);
});

test('what is cut short, damaged or wants too much memory is said to be so, and leaves no process', async () => {
  const xz = by('xz');
  const bent = Buffer.from(xz);
  bent[1000]! ^= 0xff;
  const greedy = by('xz', '--lzma2=dict=1GiB');
  for (const [bytes, why] of [
    [xz.subarray(0, xz.length / 2), /damaged \(xz: .*[Uu]nexpected end/],
    [xz.subarray(0, 20), /damaged/],
    [bent, /damaged \(xz: .*corrupt/],
    [greedy, /[Mm]emory usage limit/],
    [by('bzip2').subarray(0, 100_000), /damaged \(bzip2/],
    [gzipSync(plain).subarray(0, 1000), /damaged/],
    [Buffer.from('04224d180000', 'hex'), /lz4, which is not supported/],
  ] as const)
    await assert.rejects(undo(bytes), { name: 'TarError', message: why });
  await noChildren();
});

test('a reader that leaves, and a source that fails, end the program', async () => {
  for await (const _piece of decompressed(inPieces(by('xz'), 1000))) break;
  async function* failing(): AsyncGenerator<Buffer> {
    yield by('xz').subarray(0, 2000);
    throw new Error('the line broke');
  }
  await assert.rejects(async () => {
    for await (const _piece of decompressed(failing()));
  }, /the line broke/);
  await noChildren();
});

test('a missing program is named with its package', async () => {
  const path = process.env.PATH;
  process.env.PATH = '/nowhere';
  try {
    await assert.rejects(undo(Buffer.from('fd377a585a0000', 'hex')), /install the package xz-utils/);
  } finally {
    process.env.PATH = path;
  }
});

async function noChildren(): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const children = execFileSync('ps', ['-o', 'comm=', '--ppid', String(process.pid)], { encoding: 'utf8' });
    if (!/xz|bzip2/.test(children)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail('a program is left');
}

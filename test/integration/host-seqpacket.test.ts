import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { nativeCalls } from '../../src/host/native.ts';
import { connectSeqpacket } from '../../src/host/seqpacket.ts';

let dir: string;
let binary: string;
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'isle-seqpacket-'));
  binary = join(dir, 'server');
  execFileSync('gcc', ['-O1', '-o', binary, join(import.meta.dirname, '../fixtures/seqpacket-server.c')]);
});
after(() => rmSync(dir, { recursive: true }));

let count = 0;
async function serve(mode: string, name = `${mode}-${++count}.sock`) {
  const path = join(dir, name);
  const child = spawn(binary, [path, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trim().split('\n')));
  await once(child.stdout, 'data');
  return { path, lines, [Symbol.dispose]: () => void child.kill('SIGKILL') };
}

interface Calls {
  connectUnixSync(path: string, type: number, timeout: number): number;
}

function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

test('packets come back whole, and end() half-closes: later packets still arrive', async () => {
  using server = await serve('echo');
  const socket = await connectSeqpacket(server.path);
  const packets: string[] = [];
  socket.on('data', (packet: Buffer) => packets.push(packet.toString()));
  socket.write('one');
  socket.write('two');
  socket.end('three');
  await once(socket, 'close');
  assert.deepEqual(packets, ['one', 'two', 'three', 'bye']);
});

test('a long write is split into packets the reader takes', async () => {
  using server = await serve('echo');
  const socket = await connectSeqpacket(server.path, { maxPacket: 1000 });
  const sizes: number[] = [];
  socket.on('data', (packet: Buffer) => sizes.push(packet.length));
  socket.end(Buffer.alloc(2500, 'a'));
  await once(socket, 'close');
  assert.deepEqual(sizes, [1000, 1000, 500, 3]);
});

test('megabytes written while the peer reads slowly arrive complete', async () => {
  using server = await serve('echo');
  const socket = await connectSeqpacket(server.path);
  let received = 0;
  socket.on('data', (packet: Buffer) => (received += packet.length));
  for (let i = 0; i < 64; i++) if (!socket.write(Buffer.alloc(131_072, i))) await once(socket, 'drain');
  socket.end();
  await once(socket, 'close');
  assert.equal(received, 64 * 131_072 + 3);
});

test('packets up to 64 KiB are kept whole, and a longer one is an error, not a cut', async () => {
  using server = await serve('sizes');
  const socket = await connectSeqpacket(server.path);
  const sizes: number[] = [];
  socket.on('data', (packet: Buffer) => sizes.push(packet.length));
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  assert.deepEqual(sizes, [1, 8192, 65_536]);
  assert.equal(error.code, 'EMSGSIZE');
});

test('a paused consumer stops the sender: nothing piles up, nothing is lost or out of order', async () => {
  using server = await serve('flood');
  const socket = await connectSeqpacket(server.path);
  socket.pause();
  await delay(100);
  assert.ok(socket.readableLength <= 32, `${socket.readableLength} packets buffered while paused`);
  let next = 1;
  for await (const packet of socket) {
    assert.equal(String(packet), String(next++));
    if (next === 5000) break;
  }
  assert.ok(socket.destroyed);
  while (!server.lines.some((line) => line.startsWith('sent'))) await delay(10);
});

test('connecting tells why it failed', async () => {
  await assert.rejects(connectSeqpacket(join(dir, 'none')), { code: 'ENOENT', syscall: 'connectUnix' });
  const stream = createServer();
  stream.listen(join(dir, 'stream'));
  await once(stream, 'listening');
  await assert.rejects(connectSeqpacket(join(dir, 'stream')), { code: 'EPROTOTYPE' });
  stream.close();
});

test('a path longer than a socket address holds is reached', async () => {
  using server = await serve('echo', `${'long'.repeat(15)}.sock`);
  const path = `${dir}/${`../${dir.split('/').at(-1)}/`.repeat(10)}${server.path.split('/').at(-1)}`;
  assert.ok(path.length > 108);
  const socket = await connectSeqpacket(path);
  socket.end('x').resume();
  await once(socket, 'close');
});

test('a name in the abstract namespace is reached', async () => {
  const name = `isle-${process.pid}`;
  const server = createServer((socket) => socket.end()).listen(`\0${name}`);
  await once(server, 'listening');
  const calls = nativeCalls<Calls>()('connectUnixSync');
  const stream = 1;
  closeSync(calls.connectUnixSync(`@${name}`, stream, 0));
  assert.throws(() => calls.connectUnixSync(`@${name}x`, stream, 0), { code: 'ECONNREFUSED' });
  server.close();
});

test('writing after the peer went is an error with its errno, and destroy is idempotent', async () => {
  using server = await serve('drop');
  const socket = await connectSeqpacket(server.path);
  await delay(20);
  const failed = once(socket, 'error');
  socket.write('x');
  const [error] = (await failed) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'EPIPE');
  socket.destroy();
  socket.destroy();
});

test('ten thousand connect and close cycles leave descriptors flat', async () => {
  using server = await serve('drop');
  const cycle = async () => {
    const socket = await connectSeqpacket(server.path);
    socket.resume();
    await once(socket, 'close');
  };
  await cycle();
  const fds = openFds();
  for (let i = 0; i < 100; i++) await Promise.all(Array.from({ length: 100 }, cycle));
  assert.equal(openFds(), fds);
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { packCpio } from './cpio.ts';
import { hasPvhEntry } from '../../../lib/elf.ts';
import { readKernelImage } from './kernel-image.ts';
import { decompressLz4Legacy } from './lz4.ts';
import { selectModules } from './modules.ts';
import { prepareGuest } from './prepare-guest.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'isle-guest-image-'));
});

afterEach(() => rmSync(directory, { recursive: true }));

function write(path: string, data: string | Buffer): string {
  const file = join(directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, data);
  return file;
}

/** A 64-bit ELF file with these sections, and one note segment when there is a note. */
function elf(sections: Record<string, Buffer>, note = Buffer.alloc(0)): Buffer {
  const names = ['', ...Object.keys(sections), '.shstrtab'];
  const nameData = Buffer.from(names.map((name) => `${name}\0`).join(''));
  const contents = [Buffer.alloc(0), ...Object.values(sections), nameData];
  const header = Buffer.alloc(64 + 56);
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  header.writeBigUInt64LE(64n, 0x20);
  header.writeUInt16LE(56, 0x36);
  header.writeUInt16LE(note.length > 0 ? 1 : 0, 0x38);
  header.writeUInt32LE(4, 64);
  header.writeBigUInt64LE(BigInt(header.length), 64 + 8);
  header.writeBigUInt64LE(BigInt(note.length), 64 + 0x20);
  let at = header.length + note.length;
  const headers = contents.map((content, index) => {
    const entry = Buffer.alloc(64);
    entry.writeUInt32LE(nameData.indexOf(`${names[index]}\0`), 0);
    entry.writeBigUInt64LE(BigInt(at), 0x18);
    entry.writeBigUInt64LE(BigInt(content.length), 0x20);
    at += content.length;
    return entry;
  });
  header.writeBigUInt64LE(BigInt(at), 0x28);
  header.writeUInt16LE(64, 0x3a);
  header.writeUInt16LE(headers.length, 0x3c);
  header.writeUInt16LE(headers.length - 1, 0x3e);
  return Buffer.concat([header, note, ...contents, ...headers]);
}

const pvhNote = Buffer.concat([
  Buffer.from([4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0]),
  Buffer.from('Xen\0'),
  Buffer.alloc(8),
]);

function module(depends: string): Buffer {
  return elf({
    '.modinfo': Buffer.from(`license=GPL\0depends=${depends}\0name=x\0`),
    '.BTF': Buffer.alloc(100, 1),
  });
}

function bzImage(payload: Buffer): Buffer {
  const setup = Buffer.alloc(1024);
  setup[0x1f1] = 1;
  setup.write('HdrS', 0x202, 'latin1');
  setup.writeUInt16LE(0x100, 0x20e);
  setup.write('6.1.0-test (someone@somewhere)\0', 0x300, 'latin1');
  setup.writeUInt32LE(16, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([setup, Buffer.alloc(16, 0x90), payload, Buffer.alloc(100)]);
}

/** One block of literals only, or of what `block` says. */
function lz4(data: Buffer): Buffer {
  const lengths = data.length >= 15 ? [0xf0] : [data.length << 4];
  for (let rest = data.length - 15; rest >= 0; rest -= 255) lengths.push(Math.min(rest, 255));
  if (data.length >= 15 && (data.length - 15) % 255 === 0 && lengths.at(-1) === 255) lengths.push(0);
  const block = Buffer.concat([Buffer.from(lengths), data]);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(block.length);
  return Buffer.concat([Buffer.from('02214c18', 'hex'), size, block]);
}

const kernel = elf({ '.text': Buffer.alloc(3000, 'code') }, pvhNote);

test('a kernel is taken out of its bzImage, whatever it is packed with', async () => {
  const size = Buffer.alloc(4);
  const packed = {
    lz4: Buffer.concat([lz4(kernel), size]),
    gzip: gzipSync(kernel),
    zstd: Buffer.concat([zstdCompressSync(kernel), size]),
  };
  for (const [name, payload] of Object.entries(packed)) {
    const image = await readKernelImage(bzImage(payload));
    assert.deepEqual([image.pvh, image.version], [true, '6.1.0-test'], name);
    assert.ok(image.data.equals(kernel), name);
  }
});

test('a kernel that cannot be taken out, or could not be started so, stays a bzImage', async () => {
  const noEntry = elf({ '.text': Buffer.alloc(100) });
  for (const payload of [
    Buffer.from('5d00008000', 'hex'),
    gzipSync(noEntry),
    gzipSync(kernel).subarray(0, 50),
    Buffer.alloc(0),
  ]) {
    const data = bzImage(payload);
    const image = await readKernelImage(data);
    assert.equal(image.pvh, false);
    assert.ok(image.data.equals(data));
  }
});

test('what is no kernel is refused', async () => {
  for (const data of [Buffer.alloc(0), Buffer.from('text'), Buffer.alloc(70_000), elf({})])
    await assert.rejects(readKernelImage(data), /neither a bzImage/);
});

test('damaged ELF notes are no entry, and never read out of the file', () => {
  for (let at = 0; at < 200; at++) {
    const damaged = Buffer.from(kernel);
    damaged.fill(0xff, at, at + 4);
    assert.equal(typeof hasPvhEntry(damaged), 'boolean');
  }
});

test('LZ4 blocks repeat what they made, and damaged ones are refused', () => {
  const frame = (block: number[]): Buffer =>
    Buffer.concat([Buffer.from('02214c18', 'hex'), Buffer.from([block.length, 0, 0, 0]), Buffer.from(block)]);
  // Two literals, then eight bytes from two back, then one literal.
  assert.equal(
    decompressLz4Legacy(frame([0x24, 0x61, 0x62, 2, 0, 0x10, 0x21]), 100).toString(),
    'abababababab'.slice(0, 10) + '!',
  );
  for (const block of [
    [0x24, 0x61, 0x62, 3, 0],
    [0x24, 0x61, 0x62, 0, 0],
    [0xf0],
    [0x40, 1],
    [0x14, 0x61, 1],
  ])
    assert.throws(() => decompressLz4Legacy(frame(block), 100), /damaged/);
  assert.throws(() => decompressLz4Legacy(lz4(Buffer.alloc(200)), 100), /larger than 100 bytes/);
});

function modulesOf(files: Record<string, Buffer>, builtIn: string[] = []): string {
  for (const [path, data] of Object.entries(files)) write(`modules/6.1/kernel/${path}`, data);
  write('modules/6.1/modules.builtin', builtIn.map((name) => `kernel/drivers/${name}.ko\n`).join(''));
  return join(directory, 'modules/6.1');
}

const devices = {
  'drivers/virtio_mmio.ko': module('virtio_ring'),
  'drivers/virtio_pci.ko': module('virtio_ring'),
  'drivers/virtio_ring.ko.gz': gzipSync(module('')),
  'drivers/virtio_console.ko.zst': zstdCompressSync(module('virtio_ring')),
  'fs/virtiofs.ko': module('fuse,virtio_ring'),
  'fs/fuse.ko': module(''),
  'net/virtio_net.ko': module('net-failover'),
  'net/net_failover.ko': module(''),
  'char/virtio-rng.ko': module(''),
};

test('modules are loaded after what they depend on, packed or not, with dashes or not', async () => {
  const selected = await selectModules(modulesOf(devices, ['virtio_balloon']));
  assert.deepEqual(
    selected.map((one) => `${one.class} ${one.file}`),
    [
      'mmio virtio_ring.ko',
      'mmio virtio_mmio.ko',
      'pci virtio_ring.ko',
      'pci virtio_pci.ko',
      'console virtio_ring.ko',
      'console virtio_console.ko',
      'fs fuse.ko',
      'fs virtio_ring.ko',
      'fs virtiofs.ko',
      'net net_failover.ko',
      'net virtio_net.ko',
      'rng virtio_rng.ko',
    ],
  );
});

test("modules packed with xz are read by the host's xz", async () => {
  const plain = write('plain.ko', module(''));
  const packed = execFileSync('xz', ['-c', plain]);
  const selected = await selectModules(
    modulesOf({ ...devices, 'char/virtio-rng.ko': module('extra'), 'char/extra.ko.xz': packed }, [
      'virtio_balloon',
    ]),
  );
  assert.ok(
    selected.some(({ file, data }) => file === 'extra.ko' && data.subarray(1, 4).toString() === 'ELF'),
  );
});

test("a module's signature and its types are left out", async () => {
  const plain = module('');
  const signed = Buffer.concat([
    plain,
    Buffer.alloc(50, 7),
    Buffer.from([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 50]),
    Buffer.from('~Module signature appended~\n'),
  ]);
  const selected = await selectModules(modulesOf({ ...devices, 'fs/fuse.ko': signed }, ['virtio_balloon']));
  const fuse = selected.find(({ file }) => file === 'fuse.ko')!.data;
  assert.equal(fuse.length, plain.length);
  const other = selected.find(({ file }) => file === 'net_failover.ko')!.data;
  assert.ok(fuse.equals(other));
});

test('a module that is neither there nor built in, or damaged, is told by name', async () => {
  await assert.rejects(selectModules(modulesOf(devices)), /module virtio_balloon is missing/);
  await assert.rejects(
    selectModules(modulesOf({ 'char/virtio_balloon.ko': Buffer.from('no ELF') })),
    /virtio_balloon\.ko cannot be read/,
  );
  await assert.rejects(
    selectModules(modulesOf({ 'char/virtio_balloon.ko': module('nothing') })),
    /module nothing is missing/,
  );
  await assert.rejects(
    selectModules(modulesOf({ 'char/virtio_balloon.ko': module('virtio_balloon') })),
    /depends on itself/,
  );
});

test('cpio archives are those that others read', () => {
  const archive = packCpio([
    { path: 'a', mode: 0o040755 },
    { path: 'a/file', mode: 0o100644, data: Buffer.from('12345') },
    { path: 'a/odd', mode: 0o100600, data: Buffer.alloc(1001, 'z') },
  ]);
  const file = write('archive.cpio', archive);
  assert.equal(execFileSync('bsdtar', ['-tf', file], { encoding: 'utf8' }), 'a\na/file\na/odd\n');
  assert.equal(execFileSync('bsdtar', ['-xOf', file, 'a/file'], { encoding: 'utf8' }), '12345');
});

test('a guest is prepared once, again when something changed, and nothing else is kept', async () => {
  modulesOf(devices, ['virtio_balloon']);
  write('vmlinuz', bzImage(gzipSync(kernel)));
  const init = write('init', 'program');
  const dataRoot = join(directory, 'data');
  const options = { source: directory, dataRoot, init };
  // The source has nothing but these.
  const first = await prepareGuest(options);
  assert.deepEqual([first.version, first.pvh], ['6.1.0-test', true]);
  assert.ok(readFileSync(first.kernel).equals(kernel));
  const made = statSync(first.initramfs).mtimeMs;
  assert.deepEqual(await prepareGuest(options), first);
  assert.equal(statSync(first.initramfs).mtimeMs, made);
  for (const name of ['vmlinux', 'about.json']) {
    writeFileSync(join(dirname(first.kernel), name), 'damaged');
    assert.deepEqual(await prepareGuest(options), first);
    assert.ok(readFileSync(first.kernel).equals(kernel), `made again after ${name} was damaged`);
  }
  writeFileSync(init, 'another program');
  const second = await prepareGuest(options);
  assert.notEqual(second.initramfs, first.initramfs);
  assert.equal(readdirSync(join(dataRoot, 'guest')).length, 1);
});

test("a kernel of the user's own needs no modules", async () => {
  const source = write('my-kernel', kernel);
  const image = await prepareGuest({ source, dataRoot: join(directory, 'data'), init: write('init', 'x') });
  assert.equal(image.pvh, true);
});

test('a source that is of no use is told', async () => {
  const prepare = (source: string) =>
    prepareGuest({ source, dataRoot: join(directory, 'data'), init: write('init', 'x') });
  await assert.rejects(prepare(join(directory, 'nowhere')), {
    code: 'guestKernel',
    message: /nowhere cannot be used: ENOENT/,
  });
  await assert.rejects(prepare(write('text', 'no kernel')), {
    code: 'guestKernel',
    message: /neither a bzImage/,
  });
  mkdirSync(join(directory, 'empty/modules'), { recursive: true });
  await assert.rejects(prepare(join(directory, 'empty')), {
    code: 'guestKernel',
    message: /modules is empty/,
  });
});

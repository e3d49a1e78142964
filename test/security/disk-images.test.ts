import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { runConfined } from '../../src/host/confined.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import type { ForeignFormat } from '../../src/storage/disks.ts';
import { DiskWorld, MiB } from '../fixtures/disk-images.ts';

const canary = 'a secret of the host';

/** Must be refused in words that match, and leave nothing. */
async function refused(world: DiskWorld, source: string, format: ForeignFormat, why: RegExp): Promise<void> {
  await assert.rejects(
    world.disks.import('hostile', { source, format }),
    (error) => isIsleError(error, 'invalidDisk', 'invalidParameter') && why.test(error.message),
  );
  assert.deepEqual(readdirSync(join(world.root, 'disks')), []);
}

/** A copy of an image with some bytes of it changed. */
function patched(path: string, changes: [offset: number, bytes: Uint8Array | string][]): string {
  const content = readFileSync(path);
  for (const [offset, bytes] of changes) Buffer.from(bytes as string, 'latin1').copy(content, offset);
  writeFileSync(`${path}.patched`, content);
  return `${path}.patched`;
}

function be64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

describe('qcow2 images that reach for more than themselves', () => {
  test('a backing file', async () => {
    using world = new DiskWorld();
    world.write('secret', canary.padEnd(512));
    world.qemuImg('create', '-f', 'qcow2', '-b', world.path('secret'), '-F', 'raw', 'thief.qcow2');
    await refused(world, world.path('thief.qcow2'), 'qcow2', /backing file/);
  });

  test('a data file, and one whose bit is set without a name', async () => {
    using world = new DiskWorld();
    world.qemuImg('create', '-f', 'qcow2', '-o', 'data_file=data,data_file_raw=on', 'thief.qcow2', '1M');
    await refused(world, world.path('thief.qcow2'), 'qcow2', /another file/);
    world.qemuImg('create', '-f', 'qcow2', 'plain.qcow2', '1M');
    await refused(world, patched(world.path('plain.qcow2'), [[79, '\x04']]), 'qcow2', /another file/);
  });

  test('encryption, corruption, and features from the future', async () => {
    using world = new DiskWorld();
    const plain = world.path('plain.qcow2');
    world.qemuImg('create', '-f', 'qcow2', plain, '1M');
    await refused(world, patched(plain, [[35, '\x01']]), 'qcow2', /encrypted/);
    await refused(world, patched(plain, [[35, '\x02']]), 'qcow2', /encrypted/);
    await refused(world, patched(plain, [[79, '\x02']]), 'qcow2', /corrupt/);
    await refused(world, patched(plain, [[72, '\x40']]), 'qcow2', /features/);
    await refused(world, patched(plain, [[7, '\x09']]), 'qcow2', /version 9/);
    await refused(world, patched(plain, [[23, '\x3f']]), 'qcow2', /clusters/);
  });

  test('sizes and tables that are absurd', async () => {
    using world = new DiskWorld();
    const plain = world.path('plain.qcow2');
    world.qemuImg('create', '-f', 'qcow2', plain, '1M');
    world.qemuImg('create', '-f', 'qcow2', 'huge.qcow2', '100T');
    await refused(world, world.path('huge.qcow2'), 'qcow2', /at most 64 TiB/);
    await refused(world, patched(plain, [[24, be64(2n ** 63n)]]), 'qcow2', /virtual size is absurd/);
    await refused(world, patched(plain, [[24, be64(0n)]]), 'qcow2', /virtual size is 0/);
    await refused(world, patched(plain, [[24, be64(2n ** 50n)]]), 'qcow2', /at most 64 TiB/);
    await refused(world, patched(plain, [[60, '\xff\xff\xff\xff']]), 'qcow2', /4294967295 snapshots/);
    await refused(world, patched(plain, [[36, '\xff\xff\xff\xff']]), 'qcow2', /cannot be used/);
    await refused(world, patched(plain, [[40, be64(2n ** 60n)]]), 'qcow2', /cannot be used/);
    await refused(world, patched(plain, [[56, '\x7f\xff\xff\xff']]), 'qcow2', /cannot be used/);
  });

  test('a table that says that every cluster is the same, so that little becomes much', async () => {
    using world = new DiskWorld();
    const path = world.path('loop.qcow2');
    world.qemuImg('create', '-f', 'qcow2', '-o', 'cluster_size=2M', path, '64M');
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 2M', path], { stdio: 'ignore' });
    const content = readFileSync(path);
    const l1 = Number(content.readBigUInt64BE(40));
    const l2 = Number(content.readBigUInt64BE(l1) & 0x00fffffffffffe00n);
    for (let i = 1; i < 32; i++) content.copy(content, l2 + 8 * i, l2, l2 + 8);
    writeFileSync(path, content);
    await refused(world, path, 'qcow2', /damaged/);
  });

  test('what was cut off', async () => {
    using world = new DiskWorld();
    world.qemuImg('convert', '-f', 'raw', '-O', 'qcow2', world.raw('a.raw'), 'a.qcow2');
    for (const length of [MiB, 300_000, 70_000, 100, 71, 20, 3]) {
      truncateSync(world.path('a.qcow2'), length);
      await refused(world, world.path('a.qcow2'), 'qcow2', /cannot be used/);
    }
  });

  test('snapshots, bitmaps and old features are left behind, the present is taken', async () => {
    using world = new DiskWorld();
    world.qemuImg('convert', '-f', 'raw', '-O', 'qcow2', world.raw('a.raw'), 'a.qcow2');
    for (let i = 0; i < 5; i++) world.qemuImg('snapshot', '-c', `s${i}`, 'a.qcow2');
    world.qemuImg('bitmap', '--add', '-f', 'qcow2', 'a.qcow2', 'b');
    const disk = await world.disks.import('it', { source: world.path('a.qcow2'), format: 'qcow2' });
    assert.deepEqual(disk.snapshots, []);
    assert.doesNotMatch(world.qemuImg('info', '-f', 'qcow2', world.disks.files('it').path), /bitmaps/);
  });
});

describe('VMDK that names other files', () => {
  const descriptor = (extent: string, more = ''): string =>
    `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n${more}\n# Extent description\n${extent}\n\nddb.adapterType = "ide"\n`;

  for (const [name, extent] of [
    ['by an absolute path', 'RW 1 FLAT "/etc/shadow" 0'],
    ['in another directory', 'RW 1 FLAT "../secret" 0'],
    ['by another protocol', 'RW 1 FLAT "nbd://127.0.0.1/x" 0'],
    ['by JSON', 'RW 1 FLAT "json:{}" 0'],
    ['on Windows', 'RW 1 FLAT "C:\\\\secret" 0'],
    ['without a name', 'RW 1 FLAT "" 0'],
    ['as a device', 'RW 2048 VMFSRAW "/dev/vda"'],
    ['as a mapped device', 'RW 2048 VMFSRDM "rdm.vmdk"'],
  ] as const)
    test(name, async () => {
      using world = new DiskWorld();
      world.write('secret', canary.padEnd(512));
      await refused(
        world,
        world.write('a.vmdk', descriptor(extent)),
        'vmdk',
        /only files in its own directory|device of the host/,
      );
    });

  test('a link, a device, a directory or a pipe beside it', async () => {
    using world = new DiskWorld();
    world.write('secret', canary.padEnd(512));
    symlinkSync(world.path('secret'), world.path('link'));
    symlinkSync('/dev/zero', world.path('zero'));
    mkdirSync(world.path('directory'));
    execFileSync('mkfifo', [world.path('pipe')]);
    execFileSync('mknod', [world.path('device'), 'c', '1', '5']);
    for (const name of ['link', 'zero', 'directory', 'pipe', 'device', 'missing'])
      await refused(
        world,
        world.write('a.vmdk', descriptor(`RW 1 FLAT "${name}" 0`)),
        'vmdk',
        /no plain file|cannot read/,
      );
  });

  test('a parent', async () => {
    using world = new DiskWorld();
    const more = 'parentFileNameHint="/etc/shadow"';
    world.write('flat', Buffer.alloc(512));
    await refused(
      world,
      world.write('a.vmdk', descriptor('RW 1 FLAT "flat" 0', more)),
      'vmdk',
      /stands on another/,
    );
    const base = world.path('base.vmdk');
    world.qemuImg('create', '-f', 'vmdk', base, '1M');
    world.qemuImg('create', '-f', 'vmdk', '-b', base, '-F', 'vmdk', 'child.vmdk');
    await refused(world, world.path('child.vmdk'), 'vmdk', /stands on another/);
  });

  test('thousands of files, a description without end, sizes that are absurd', async () => {
    using world = new DiskWorld();
    const many = Array.from({ length: 5000 }, (_, i) => `RW 1 FLAT "f${i}" 0`).join('\n');
    await refused(world, world.write('a.vmdk', descriptor(many)), 'vmdk', /more than 512 files/);
    await refused(world, world.write('b.vmdk', descriptor('#'.repeat(2 * MiB))), 'vmdk', /over 1 MiB/);
    await refused(
      world,
      world.write('c.vmdk', descriptor('RW 999999999999999 ZERO')),
      'vmdk',
      /absurd|at most/,
    );
    await refused(world, world.write('d.vmdk', descriptor('')), 'vmdk', /names no data/);
  });
});

describe('images of other hypervisors that stand on others, lie or are cut off', () => {
  test('differencing VDI, VHD and VHDX', async () => {
    using world = new DiskWorld();
    world.raw('a.raw');
    for (const format of ['vdi', 'vpc', 'vhdx'])
      world.qemuImg('convert', '-f', 'raw', '-O', format, 'a.raw', `a.${format}`);
    await refused(world, patched(world.path('a.vdi'), [[0x4c, '\x04']]), 'vdi', /differencing/);
    await refused(world, patched(world.path('a.vdi'), [[0x1b8, 'x']]), 'vdi', /differencing/);
    const footer = readFileSync(world.path('a.vpc')).length - 512;
    await refused(world, patched(world.path('a.vpc'), [[footer + 63, '\x04']]), 'vpc', /differencing/);
    await refused(world, patched(world.path('a.vpc'), [[63, '\x04']]), 'vpc', /: Incorrect header checksum/);
    const vhdx = readFileSync(world.path('a.vhdx'));
    const entry = vhdx.indexOf(Buffer.from('3767a1ca36fa434db3b633f0aa44e76b', 'hex'));
    const parameters = vhdx.lastIndexOf(Buffer.from('metadata'), entry) + vhdx.readUInt32LE(entry + 16);
    await refused(world, patched(world.path('a.vhdx'), [[parameters + 4, '\x02']]), 'vhdx', /differencing/);
  });

  test('cut off anywhere', async () => {
    using world = new DiskWorld();
    world.write('a.raw', randomBytes(8 * MiB));
    for (const format of ['vmdk', 'vdi', 'vhdx', 'parallels'] as const) {
      world.qemuImg('convert', '-f', 'raw', '-O', format, 'a.raw', `a.${format}`);
      for (const length of [1, 63, 300, 700, 70_000, 5 * MiB]) {
        truncateSync(world.path(`a.${format}`), length);
        await refused(world, world.path(`a.${format}`), format, /cannot be used/);
        world.qemuImg('convert', '-f', 'raw', '-O', format, 'a.raw', `a.${format}`);
      }
    }
    for (const kind of ['fixed', 'dynamic']) {
      world.qemuImg('convert', '-f', 'raw', '-O', 'vpc', '-o', `subformat=${kind}`, 'a.raw', 'a.vpc');
      truncateSync(world.path('a.vpc'), 2 * MiB);
      await refused(world, world.path('a.vpc'), 'vpc', /cannot be used/);
    }
    world.qemuImg('convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=monolithicFlat', 'a.raw', 'b.vmdk');
    truncateSync(world.path('b-flat.vmdk'), 4 * MiB);
    await refused(world, world.path('b.vmdk'), 'vmdk', /was cut off/);
    world.qemuImg('convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', 'a.raw', 'c.vmdk');
    truncateSync(world.path('c.vmdk'), MiB);
    await refused(world, world.path('c.vmdk'), 'vmdk', /cannot be used/);
    await refused(world, world.write('empty', ''), 'raw', /empty/);
  });

  test('another format than was said', async () => {
    using world = new DiskWorld();
    world.raw('a.raw');
    const formats = ['qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels'] as const;
    for (const format of formats) world.qemuImg('convert', '-f', 'raw', '-O', format, 'a.raw', `a.${format}`);
    for (const format of formats) {
      await refused(
        world,
        world.path(`a.${format}`),
        'raw',
        new RegExp(`said to be raw, but .* as ${format}`),
      );
      await refused(world, world.path('a.raw'), format, /does not begin as one/);
      const other = format === 'qcow2' ? 'vmdk' : 'qcow2';
      await refused(world, world.path(`a.${format}`), other, new RegExp(`as ${format}`));
    }
    await refused(world, world.write('x.gz', Buffer.from('1f8b080000000000', 'hex')), 'raw', /gzip/);
  });

  test('fuzzed headers never get anything but an answer', async () => {
    using world = new DiskWorld();
    world.raw('a.raw', 2 * MiB);
    for (const format of ['qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels'] as const) {
      world.qemuImg('convert', '-f', 'raw', '-O', format, 'a.raw', `a.${format}`);
      for (let round = 0; round < 12; round++) {
        const changes = Array.from({ length: 4 }, (): [number, Uint8Array] => [
          Math.floor(Math.random() * (round % 2 ? 512 : 300_000)),
          randomBytes(4),
        ]);
        const path = patched(world.path(`a.${format}`), changes);
        try {
          await world.disks.import('fuzzed', { source: path, format });
          await world.disks.remove('fuzzed');
        } catch (error) {
          assert.ok(isIsleError(error, 'invalidDisk'), `${format}: ${String(error)}`);
        }
        assert.deepEqual(readdirSync(join(world.root, 'disks')), []);
      }
    }
  });
});

describe('sources that are no images', () => {
  test('devices, pipes, directories, and files that are not there', async () => {
    using world = new DiskWorld();
    execFileSync('mkfifo', [world.path('pipe')]);
    for (const source of [
      '/dev/zero',
      '/dev/tty',
      world.path('pipe'),
      world.root,
      '/proc/kcore/x',
      world.path('none'),
      '',
    ])
      await refused(world, source, 'raw', /no plain file|cannot read|cannot be used/);
  });

  test('a name full of what shells, QEMU and JSON read is only a name', async () => {
    using world = new DiskWorld();
    for (const name of [
      'a,b=c',
      'json:{"driver":"null-co"}',
      'nbd:x',
      '$(touch hacked)',
      '-o',
      'a"b\'c',
      'a\nb',
      '%s%n',
    ]) {
      world.raw(name, 2 * MiB);
      await world.disks.import('named', { source: world.path(name), format: 'raw' });
      await world.disks.export('named', world.path(`out ${name}`), { format: 'vmdk' });
      await world.disks.remove('named');
    }
    assert.ok(!readdirSync(world.root).includes('hacked'));
  });

  test('a snapshot with a hostile name is refused', async () => {
    using world = new DiskWorld();
    await world.disks.create('it', { size: MiB, format: 'qcow2' });
    for (const name of ['', '-a', '1', 'a,b', 'a/b', 'x\ny', 'ü', 'a'.repeat(200), '$(x)'])
      await assert.rejects(world.disks.takeSnapshot('it', name), (error) =>
        isIsleError(error, 'invalidParameter'),
      );
  });
});

describe('what a guest can write into its own disk', () => {
  test('a raw disk that calls itself qcow2 is read as raw', async () => {
    using world = new DiskWorld();
    world.write('secret', canary.padEnd(512));
    await world.disks.create('guest', { size: MiB, format: 'raw' });
    world.qemuImg('create', '-f', 'qcow2', '-b', world.path('secret'), '-F', 'raw', 'evil.qcow2');
    const { path } = world.disks.files('guest');
    const evil = readFileSync(world.path('evil.qcow2'));
    writeFileSync(path, evil, { flag: 'r+' });
    await world.disks.export('guest', world.path('out'), { format: 'raw' });
    assert.ok(readFileSync(world.path('out')).subarray(0, evil.length).equals(evil));
    await world.disks.clone('copy', 'guest', { linked: false });
    assert.ok(readFileSync(world.disks.files('copy').path).subarray(0, evil.length).equals(evil));
  });

  test('a backing file that a monitor wrote into the header of its disk is never opened', async () => {
    using world = new DiskWorld();
    world.write('secret', canary.padEnd(MiB));
    await world.disks.create('guest', { size: MiB, format: 'qcow2' });
    world.qemuImg(
      'rebase',
      '-u',
      '-b',
      world.path('secret'),
      '-F',
      'raw',
      '-f',
      'qcow2',
      world.disks.files('guest').path,
    );
    await world.disks.export('guest', world.path('out'), { format: 'raw' });
    assert.ok(!readFileSync(world.path('out')).includes(canary));
    await world.disks.takeSnapshot('guest', 'one');
    await world.disks.clone('copy', 'guest', { linked: false });
    await world.disks.export('copy', world.path('out2'), { format: 'raw' });
    assert.ok(!readFileSync(world.path('out2')).includes(canary));
  });

  test('a table of snapshots that lies is no snapshot', async () => {
    using world = new DiskWorld();
    await world.disks.create('guest', { size: MiB, format: 'qcow2' });
    const { path } = world.disks.files('guest');
    const content = readFileSync(path);
    for (const offset of [8n, 65536n, BigInt(content.length - 4), 2n ** 62n]) {
      content.writeUInt32BE(0xffffffff, 60);
      content.writeBigUInt64BE(offset, 64);
      writeFileSync(path, content);
      assert.ok(world.disks.get('guest').snapshots.length < 5000);
    }
  });
});

describe('the room that qemu-img works in', () => {
  const inside = async (world: DiskWorld, script: string): Promise<string> => {
    const { stdout, stderr } = await runConfined('sh', ['-c', script], {
      files: [
        { path: world.path('mine'), inside: '/disk/0', write: true },
        { path: world.path('read'), inside: '/disk/1' },
      ],
      fileSize: MiB,
    });
    return stdout + stderr;
  };
  const prepared = (): DiskWorld => {
    const world = new DiskWorld();
    world.write('mine', 'mine');
    world.write('read', 'read');
    world.write('secret', canary);
    chmodSync(world.path('mine'), 0o600);
    return world;
  };

  test('has its files, nobody’s ids, and nothing else of the host', async () => {
    using world = prepared();
    assert.match(await inside(world, 'id -u; id -g'), /^65534\n65534\n$/);
    assert.match(await inside(world, 'cat /disk/0 /disk/1'), /^mineread$/);
    assert.match(await inside(world, `cat ${world.path('secret')}`), /No such file/);
    for (const path of [
      '/etc/passwd',
      '/etc/shadow',
      '/proc/1/environ',
      '/sys',
      '/root',
      '/home',
      '/var',
      '/run',
      '/tmp',
      '/dev/vda',
      '/dev/kvm',
      '/dev/mem',
    ])
      assert.match(await inside(world, `ls ${path}`), /No such file|cannot access/, path);
    assert.equal(
      (await inside(world, 'ls /'))
        .trim()
        .split('\n')
        .filter((name) => !/^(usr|lib\w*|bin|sbin|etc|dev|disk)$/.test(name))
        .join(),
      '',
    );
  });

  test('writes only what it was given to write, and no more than it may', async () => {
    using world = prepared();
    assert.match(
      await inside(world, 'echo x > /disk/1; echo x > /disk/new; echo x > /new; echo x > /usr/x; echo done'),
      /^done\n(.*(cannot create|Read-only|Permission).*\n){4}$/,
    );
    await inside(world, 'head -c 3000000 /dev/zero > /disk/0');
    assert.equal(readFileSync(world.path('mine')).length, MiB);
    assert.equal(readFileSync(world.path('read'), 'utf8'), 'read');
  });

  test('reaches no network, no other process and no way up', async () => {
    using world = prepared();
    const python = (code: string): Promise<string> =>
      inside(world, `python3 -c ${JSON.stringify(code)} || true`);
    assert.match(await python('import socket; socket.socket()'), /PermissionError|Operation not permitted/);
    assert.match(
      await python('import socket; socket.socket(socket.AF_UNIX)'),
      /PermissionError|Operation not permitted/,
    );
    assert.match(await inside(world, 'kill -0 2; kill -0 1000; echo done'), /done/);
    assert.match(
      await inside(world, 'unshare -Ur true; mount -t tmpfs x /usr; chroot /usr /bin/true; echo done'),
      /done/,
    );
    assert.match(await inside(world, 'unshare -Ur true || echo no'), /no/);
    assert.match(await inside(world, 'mknod /disk/x c 1 1 || echo no'), /no/);
  });

  test('shows a file as its own whoever it belongs to, and gives back what it writes to that owner', async () => {
    using world = prepared();
    chownSync(world.path('mine'), 1234, 4321);
    await inside(world, 'echo other > /disk/0');
    assert.equal(readFileSync(world.path('mine'), 'utf8'), 'other\n');
    assert.match(execFileSync('stat', ['-c', '%u %g', world.path('mine')]).toString(), /1234 4321/);
    linkSync(world.path('mine'), world.path('hard'));
    assert.equal(await inside(world, 'cat /disk/0'), 'other\n');
  });

  test('ends when it says nothing, too much, or nobody waits for it', async () => {
    using world = prepared();
    const files = [{ path: world.path('read'), inside: '/read' }];
    await assert.rejects(runConfined('sleep', ['1000'], { files, patience: 200 }), /said nothing/);
    await assert.rejects(runConfined('yes', [], { files, maxOutput: 100_000 }), /more than 100000 bytes/);
    await assert.rejects(runConfined('sleep', ['1000'], { files, signal: AbortSignal.timeout(200) }));
    const greedy = await runConfined('python3', ['-c', 'x = bytearray(3 * 1024**3)'], { files });
    assert.match(greedy.stderr, /MemoryError/);
    const busy = await runConfined('sh', ['-c', 'while :; do :; done'], { files, cpu: 1 });
    assert.ok(busy.code > 128, `${busy.code}`);
    assert.equal(await left(), '');
  });
});

/** Processes of the room that are still there. */
async function left(): Promise<string> {
  await new Promise((resolve) => setTimeout(resolve, 300));
  return execFileSync('sh', ['-c', 'pgrep -fx "sleep 1000" || true']).toString();
}

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { createReadStream, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Readable } from 'node:stream';
import { isIsleError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { ForeignFormat } from '../../src/storage/disks.ts';
import { createDisks } from '../../src/storage/disks/service.ts';
import { DiskWorld, MiB } from '../fixtures/disk-images.ts';

/** Each format, and the options with which other hypervisors write it. */
const kinds: [format: ForeignFormat, name: string, options: string][] = [
  ['raw', 'plain', ''],
  ['qcow2', 'plain', ''],
  ['qcow2', 'old', 'compat=0.10'],
  ['qcow2', 'zstd', 'compression_type=zstd,extended_l2=on'],
  ['vmdk', 'sparse', 'subformat=monolithicSparse'],
  ['vmdk', 'flat', 'subformat=monolithicFlat'],
  ['vmdk', 'split', 'subformat=twoGbMaxExtentSparse'],
  ['vmdk', 'splitflat', 'subformat=twoGbMaxExtentFlat'],
  ['vmdk', 'stream', 'subformat=streamOptimized'],
  ['vdi', 'plain', ''],
  ['vdi', 'static', 'static=on'],
  ['vhdx', 'plain', 'subformat=dynamic'],
  ['vhdx', 'fixed', 'subformat=fixed'],
  ['vpc', 'plain', 'force_size=on'],
  ['vpc', 'fixed', 'subformat=fixed,force_size=on'],
  ['parallels', 'plain', ''],
];

describe('disks of other hypervisors', { concurrency: 2 }, () => {
  for (const [format, name, options] of kinds)
    test(`${format} (${name}) is taken in byte for byte`, async () => {
      using world = new DiskWorld();
      const raw = world.raw('content.raw');
      const image = `${name}.${format}`;
      world.qemuImg('convert', '-O', format, ...(options ? ['-o', options] : []), '-f', 'raw', raw, image);
      let last = 0;
      const disk = await world.disks.import('it', {
        source: world.path(image),
        format,
        onProgress: (done) => (last = done),
      });
      assert.equal(disk.size, 8 * MiB);
      assert.equal(last, 8 * MiB);
      await world.disks.export('it', world.path('back'), { format: 'raw' });
      execFileSync('cmp', [raw, world.path('back')]);
      assert.deepEqual(readdirSync(join(world.root, 'disks')), ['it']);
    });

  for (const format of ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels'] as const)
    test(`a disk is given out as ${format}, and taken in again the same`, async () => {
      using world = new DiskWorld();
      const raw = world.raw('content.raw');
      await world.disks.import('first', { source: raw, format: 'raw' });
      await world.disks.export('first', world.path('out'), { format });
      await world.disks.import('second', { source: world.path('out'), format, keep: 'raw' });
      execFileSync('cmp', [raw, world.disks.files('second').path]);
    });

  test('VMDK for an OVA is compressed', async () => {
    using world = new DiskWorld();
    await world.disks.import('it', { source: world.raw('content.raw'), format: 'raw' });
    await world.disks.export('it', world.path('out.vmdk'), { format: 'vmdk', streamOptimized: true });
    assert.match(
      readFileSync(world.path('out.vmdk'), 'latin1').slice(0, 2000),
      /createType="streamOptimized"/,
    );
    await assert.rejects(
      world.disks.export('it', world.path('out.vmdk'), { format: 'vmdk' }),
      (error) => isIsleError(error, 'conflict') && /there already/.test(error.message),
    );
    assert.deepEqual(readdirSync(world.root).sort(), ['content.raw', 'disks', 'out.vmdk']);
  });
});

test('bytes that come are taken in, grown and checked by their digest', async () => {
  using world = new DiskWorld();
  const path = world.raw('content.raw');
  const digest = `sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`;
  const stream = (): Readable => createReadStream(path);
  const disk = await world.disks.import('it', { source: stream(), format: 'raw', digest, size: 20 * MiB });
  assert.equal(disk.size, 20 * MiB);
  assert.deepEqual(readdirSync(join(world.root, 'disks/it')).sort(), ['disk.json', 'disk.qcow2']);
  const wrong = `sha256:${'0'.repeat(64)}`;
  for (const source of [stream(), path])
    await assert.rejects(
      world.disks.import('wrong', { source, format: 'raw', digest: wrong }),
      (error) => isIsleError(error, 'digestMismatch') && error.message.includes(digest),
    );
  for (const text of ['sha256:12', 'md5:00', 'x', `sha512:${'0'.repeat(64)}`])
    await assert.rejects(
      world.disks.import('wrong', { source: path, format: 'raw', digest: text }),
      (error) => isIsleError(error, 'invalidParameter'),
    );
  await assert.rejects(
    world.disks.import('small', { source: path, format: 'raw', size: MiB }),
    (error) => isIsleError(error, 'invalidParameter') && /too small/.test(error.message),
  );
  assert.deepEqual(readdirSync(join(world.root, 'disks')), ['it']);
});

test('an image that stands on others is taken in with those that are named, whatever its header says', async () => {
  using world = new DiskWorld();
  const raw = world.raw('base.raw');
  world.qemuImg('convert', '-f', 'raw', '-O', 'qcow2', raw, 'full.qcow2');
  world.qemuImg('create', '-f', 'qcow2', '-b', '/etc/shadow', '-F', 'raw', '-u', 'increment.qcow2', '8M');
  const options = { source: world.path('increment.qcow2'), format: 'qcow2' as const };
  await assert.rejects(world.disks.import('it', options), (error) => isIsleError(error, 'invalidDisk'));
  await world.disks.import('it', { ...options, chain: [world.path('full.qcow2')], keep: 'raw' });
  execFileSync('cmp', [raw, world.disks.files('it').path]);
});

test('an import and an export that are given up leave nothing', async () => {
  using world = new DiskWorld();
  const path = world.path('large.raw');
  execFileSync('sh', ['-c', `head -c 200000000 /dev/urandom > ${path}`]);
  const stopped = new AbortController();
  await assert.rejects(
    world.disks.import('it', {
      source: path,
      format: 'raw',
      onProgress: () => stopped.abort(new Error('enough')),
      signal: stopped.signal,
    }),
    /enough/,
  );
  const neverEnds = Readable.from(endless());
  const soon = AbortSignal.timeout(300);
  await assert.rejects(world.disks.import('it', { source: neverEnds, format: 'raw', signal: soon }));
  assert.deepEqual(readdirSync(join(world.root, 'disks')), []);
  await world.disks.import('it', { source: path, format: 'raw' });
  const again = new AbortController();
  await assert.rejects(
    world.disks.export('it', world.path('out'), {
      format: 'vdi',
      onProgress: () => again.abort(new Error('enough')),
      signal: again.signal,
    }),
    /enough/,
  );
  assert.deepEqual(readdirSync(world.root).sort(), ['disks', 'large.raw']);
});

async function* endless(): AsyncGenerator<Buffer> {
  for (;;) {
    yield Buffer.alloc(64);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('what a clone stands on stays as it was, whatever is done to source and clone', async () => {
  using world = new DiskWorld();
  const { disks } = world;
  await disks.import('source', { source: world.raw('a.raw'), format: 'raw' });
  const write = (id: string, byte: string, at: string): void => {
    const { path } = disks.files(id);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -P ${byte} ${at} 64k`, path], { stdio: 'ignore' });
  };
  const read = (id: string, byte: string, at: string): boolean =>
    !/Pattern verification failed/.test(
      execFileSync('qemu-io', [
        '-r',
        '-f',
        'qcow2',
        '-c',
        `read -P ${byte} ${at} 64k`,
        disks.files(id).path,
      ]).toString(),
    );
  write('source', '0x11', '4M');
  await disks.takeSnapshot('source', 'eleven');
  write('source', '0x22', '4M');
  await disks.clone('clone', 'source', { linked: true });
  write('source', '0x33', '4M');
  assert.ok(read('clone', '0x22', '4M') && read('source', '0x33', '4M'));
  write('clone', '0x44', '4M');
  assert.ok(read('source', '0x33', '4M'));
  await disks.takeSnapshot('source', 'three');
  await disks.revertSnapshot('source', 'eleven');
  assert.ok(read('source', '0x11', '4M') && read('clone', '0x44', '4M'));
  await disks.clone('twice', 'clone', { linked: true });
  assert.deepEqual([disks.get('twice').base, disks.get('clone').base], ['clone', 'source']);
  assert.ok(read('twice', '0x44', '4M'));
  await disks.revertSnapshot('source', 'three');
  assert.ok(read('source', '0x33', '4M'));
  await disks.clone('whole', 'source', { linked: false, snapshot: 'eleven' });
  assert.ok(read('whole', '0x11', '4M'));
  world.reopen();
  await world.disks.recover(new Set(['source', 'clone', 'twice', 'whole']));
  assert.deepEqual(
    world.disks
      .list()
      .map(({ id }) => id)
      .sort(),
    ['clone', 'source', 'twice', 'whole'],
  );
  assert.deepEqual(world.disks.get('source').snapshots.toSorted(), ['eleven', 'three']);
  for (const id of ['whole', 'twice', 'clone', 'source']) await world.disks.remove(id);
  assert.deepEqual(readdirSync(join(world.root, 'disks')), []);
});

test('clones of a template that nobody writes share one base, and a new file is made only for those', async () => {
  using world = new DiskWorld();
  const { disks } = world;
  await disks.create('template', { size: 100 * MiB, format: 'qcow2' });
  for (const id of ['a', 'b', 'c']) await disks.clone(id, 'template', { linked: true });
  const chains = ['a', 'b', 'c', 'template'].map((id) => disks.files(id).chain);
  for (const chain of chains) assert.deepEqual(chain, chains[0]);
  assert.equal(chains[0]!.length, 1);
});

test('while a machine runs on a disk, its clone stands on the file that the machine leaves', async () => {
  using world = new DiskWorld();
  const { disks } = world;
  await disks.create('live', { size: MiB, format: 'qcow2' });
  const before = disks.files('live').path;
  const told: string[] = [];
  await disks.cloneLinked([{ id: 'copy', source: 'live' }], async ([overlay]) => {
    assert.ok(existsSync(overlay!.path));
    assert.deepEqual(overlay!.chain, [before]);
    told.push(overlay!.path);
  });
  assert.deepEqual(told, [disks.files('live').path]);
  assert.deepEqual(disks.files('copy').chain, [before]);
  const failing = disks.cloneLinked([{ id: 'more', source: 'live' }], async () => {
    throw new Error('the connection broke');
  });
  await assert.rejects(failing, /broke/);
  // The machine may write there already.
  assert.deepEqual(disks.files('live').chain, [told[0], before]);
  assert.throws(() => disks.get('more'));
});

test('a full disk is said, and nothing is left of what was tried', async () => {
  using world = new DiskWorld();
  const small = world.path('small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', small]);
  try {
    const disks = createDisks({ dataRoot: small, log: silentLog() });
    const large = world.path('large.raw');
    execFileSync('sh', ['-c', `head -c 60000000 /dev/urandom > ${large}`]);
    const full = (error: unknown): boolean =>
      isIsleError(error, 'diskFull') && /no space left/.test(error.message);
    const used = (): number => Number(execFileSync('du', ['-s', small]).toString().split('\t')[0]);
    const before = used();
    await assert.rejects(disks.import('it', { source: large, format: 'raw' }), full);
    await assert.rejects(disks.import('it', { source: createReadStream(large), format: 'raw' }), full);
    await assert.rejects(disks.create('it', { size: 60 * MiB, format: 'raw', preallocate: true }), full);
    assert.deepEqual(disks.list(), []);
    assert.ok(used() <= before + 8, `${before} → ${used()}`);
    await disks.create('thin', { size: 60 * MiB, format: 'qcow2' });
    await assert.rejects(
      (async () => {
        await world.disks.import('big', { source: large, format: 'raw' });
        await world.disks.export('big', join(small, 'out.vdi'), { format: 'vdi' });
      })(),
      full,
    );
    assert.deepEqual(readdirSync(small), ['disks']);
  } finally {
    execFileSync('umount', ['-l', small]);
  }
});

test('only root can reach the files of disks', async () => {
  using world = new DiskWorld();
  await world.disks.create('it', { size: MiB, format: 'qcow2' });
  assert.equal(statSync(join(world.root, 'disks')).mode & 0o777, 0o700);
  assert.equal(statSync(world.disks.files('it').path).mode & 0o777, 0o600);
});

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { silentLog } from '../lib/log.ts';
import { memoryStore } from '../lib/table.ts';
import { padding, tarEnd, tarHeader } from '../lib/tar/writer.ts';
import { createSnapshots } from '../storage/overlay.ts';
import type { Snapshots } from '../storage/snapshots.ts';
import { createStorageWorkers } from '../storage/storage-workers.ts';
import { emptyEntry } from '../lib/tar/entry.ts';
import { shippedImage } from './archive/shipped.ts';
import type { Images } from './images.ts';
import { createImages } from './service.ts';
import { createContentStore } from './store/store.ts';
import { createUnpacker } from './unpack/unpack.ts';

interface Bench {
  root: string;
  images: Images;
  snapshots: Snapshots;
  load: (archive: Buffer) => Promise<{ id: string; names: string[] }[]>;
}

async function setUp(t: TestContext): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), 'isle-archives-'));
  const common = {
    store: memoryStore(),
    dataRoot: join(root, 'data'),
    runRoot: join(root, 'run'),
    log: silentLog(),
  };
  const workers = createStorageWorkers();
  const snapshots = createSnapshots({ ...common, workers });
  const unpacker = createUnpacker({ threads: 2 });
  const config = {
    mirrors: {},
    insecureRegistries: [],
    certificateAuthorities: {},
    maxConcurrentDownloads: 3,
  };
  const content = createContentStore(common);
  const images = createImages({ ...common, snapshots, unpacker, content, config });
  t.after(async () => {
    await snapshots.recover(new Set());
    await snapshots.settled();
    await Promise.all([unpacker.close(), workers.close()]);
    assert.deepEqual(await readdir(join(root, 'data/ingest')), [], 'nothing is left half-done');
    await rm(root, { recursive: true, force: true });
  });
  return {
    root,
    images,
    snapshots,
    load: (archive) => images.load(Readable.from([archive]), () => undefined),
  };
}

const shipped = shippedImage({
  busybox: Buffer.from('not really busybox'),
  applets: ['sh', 'true', '['],
  architecture: 'amd64',
  time: 1_700_000_000,
});

function tar(members: Record<string, Buffer | string>): Buffer {
  const parts = Object.entries(members).map(([name, content]) => {
    const bytes = Buffer.from(content);
    return Buffer.concat([
      tarHeader({ ...emptyEntry, name, size: bytes.length }),
      bytes,
      padding(bytes.length),
    ]);
  });
  return Buffer.concat([...parts, tarEnd()]);
}

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A docker-archive as Docker wrote it before version 25. */
function oldArchive(layer = tar({ 'etc/motd': 'hello' }), diffId = digestOf(layer)): Buffer {
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['sh'] },
    rootfs: { type: 'layers', diff_ids: [diffId] },
  });
  return tar({
    'abc/layer.tar': layer,
    'config.json': config,
    'manifest.json': JSON.stringify([
      { Config: 'config.json', RepoTags: ['old:1'], Layers: ['abc/layer.tar'] },
    ]),
  });
}

async function rootOf({ images, snapshots }: Bench, imageId: string, id = 'look'): Promise<string> {
  await snapshots.prepare(id, images.chainId(imageId));
  return snapshots.mount(id);
}

test('the shipped image is the same every time, loads, and has what it promises', async (t) => {
  const bench = await setUp(t);
  const [image] = await bench.load(shipped);
  assert.deepEqual(image!.names, ['isle/hello:latest']);
  const { config, architecture, createdAt } = bench.images.get('isle/hello');
  assert.deepEqual(
    [config.command, architecture, createdAt],
    [['hello'], 'amd64', '2023-11-14T22:13:20.000Z'],
  );
  const root = await rootOf(bench, image!.id);
  assert.deepEqual((await readdir(join(root, 'bin'))).sort(), ['[', 'busybox', 'hello', 'sh', 'true']);
  assert.match(readFileSync(join(root, 'bin/hello'), 'utf8'), /Hello from a container/);
});

test('what was saved loads elsewhere as the very same image, by every name it was saved with', async (t) => {
  const [here, there] = [await setUp(t), await setUp(t)];
  const [image] = await here.load(shipped);
  here.images.tag('isle/hello', 'example.com/team/app:v2');
  const saved = Buffer.concat(await (await here.images.save([image!.id, 'isle/hello'])).toArray());
  for (const archive of [saved, gzipSync(saved), zstdCompressSync(saved)]) {
    const [copy] = await there.load(archive);
    assert.equal(copy!.id, image!.id);
    assert.deepEqual(copy!.names.sort(), ['example.com/team/app:v2', 'isle/hello:latest']);
  }
  assert.equal(there.images.list().length, 1);
  assert.deepEqual(there.images.get(image!.id).manifest, here.images.get(image!.id).manifest);
  const one = Buffer.concat(await (await here.images.save(['example.com/team/app:v2'])).toArray());
  const other = await setUp(t);
  assert.deepEqual((await other.load(one))[0]!.names, ['example.com/team/app:v2']);
  await assert.rejects(here.images.save(['nothing-here']), /No such image/);
});

test('an archive of an old Docker loads, and so does a bare OCI layout', async (t) => {
  const bench = await setUp(t);
  const [old] = await bench.load(oldArchive());
  assert.deepEqual(old!.names, ['old:1']);
  assert.equal(readFileSync(join(await rootOf(bench, old!.id), 'etc/motd'), 'utf8'), 'hello');
  const layer = gzipSync(tar({ a: 'A' }));
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [digestOf(tar({ a: 'A' }))] },
    }),
  );
  const oci = 'application/vnd.oci.image';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${oci}.manifest.v1+json`,
      config: { mediaType: `${oci}.config.v1+json`, digest: digestOf(config), size: config.length },
      layers: [{ mediaType: `${oci}.layer.v1.tar+gzip`, digest: digestOf(layer), size: layer.length }],
    }),
  );
  const path = (bytes: Buffer): string => `blobs/sha256/${digestOf(bytes).slice(7)}`;
  const [image] = await bench.load(
    tar({
      'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
      'index.json': JSON.stringify({
        schemaVersion: 2,
        manifests: [
          {
            mediaType: `${oci}.manifest.v1+json`,
            digest: digestOf(manifest),
            size: manifest.length,
            annotations: { 'org.opencontainers.image.ref.name': 'quay.io/a/b:c' },
          },
        ],
      }),
      [path(layer)]: layer,
      [path(config)]: config,
      [path(manifest)]: manifest,
    }),
  );
  assert.deepEqual(image, { id: digestOf(config), names: ['quay.io/a/b:c'] });
  assert.equal(bench.images.get('quay.io/a/b:c').manifest?.digest, digestOf(manifest));
});

test('an archive that cannot be right is refused with a reason, and nothing of it stays', async (t) => {
  const bench = await setUp(t);
  const manifest = (value: unknown): Buffer => tar({ 'manifest.json': JSON.stringify(value) });
  const refused: [Buffer, RegExp][] = [
    [Buffer.from('hello'), /ends in the middle of a member/],
    [tarEnd(), /neither manifest.json nor index.json/],
    [oldArchive().subarray(0, 3000), /ends in the middle/],
    [Buffer.from('fd377a585a000000', 'hex'), /damaged \(xz/],
    [tar({ 'manifest.json': '{' }), /manifest.json is not valid JSON/],
    [manifest({}), /manifest.json is not a list/],
    [manifest([]), /it holds no image/],
    [manifest([{ Config: '../../etc/passwd', Layers: [] }]), /does not hold it/],
    [manifest([{ Config: 1 }]), /the Config of manifest.json is not a name/],
    [tar({ 'manifest.json': Buffer.alloc(9 << 20, 32) }), /more than 8388608/],
    [oldArchive(tar({ a: 'b' }), `sha256:${'0'.repeat(64)}`), /expected sha256:0000/],
    [oldArchive(tar({ '../escape': 'b' })), /leads out of the root/],
    [tar({ 'index.json': JSON.stringify({ manifests: [{ digest: 'x' }] }) }), /no valid digest/],
  ];
  for (const [archive, why] of refused) await assert.rejects(bench.load(archive), why);
  assert.deepEqual(bench.images.list(), []);
  await bench.images.recover();
  assert.deepEqual(await readdir(join(bench.root, 'data/blobs/sha256')), []);
});

test('a root file system becomes an image with the changes that were asked for', async (t) => {
  const bench = await setUp(t);
  const options = {
    ref: 'made:here',
    message: 'from a tar',
    changes: [
      'CMD ["sh", "-c", "echo hi"]',
      'ENV A=1 B="two words"',
      'EXPOSE 80 53/udp',
      'WORKDIR /srv',
      'LABEL k=v',
    ],
  };
  const rootfs = tar({ 'etc/motd': 'hello' });
  const image = await bench.images.import(Readable.from([gzipSync(rootfs)]), options);
  assert.deepEqual(image.tags, ['made:here']);
  assert.deepEqual(image.diffIds, [digestOf(rootfs)]);
  assert.deepEqual(image.config.command, ['sh', '-c', 'echo hi']);
  assert.deepEqual(image.config.env, ['A=1', 'B=two words']);
  assert.deepEqual(image.config.exposedPorts, ['80/tcp', '53/udp']);
  assert.deepEqual([image.config.workingDir, image.config.labels], ['/srv', { k: 'v' }]);
  assert.equal(bench.images.history('made:here')[0]!.comment, 'from a tar');
  const bad = { ...options, ref: undefined, changes: ['COPY a b'] };
  await assert.rejects(
    bench.images.import(Readable.from([rootfs]), bad),
    /COPY is not a valid change command/,
  );
  await assert.rejects(
    bench.images.import(Readable.from([Buffer.from('no tar')]), { ...options, changes: [] }),
    /ends in the middle/,
  );
});

test('a container’s changes become a layer: new, changed and deleted files', async (t) => {
  const bench = await setUp(t);
  const { images } = bench;
  const [base] = await bench.load(
    oldArchive(tar({ 'etc/motd': 'hello', 'etc/gone': 'x', 'var/dir/file': 'y' })),
  );
  const root = await rootOf(bench, base!.id, 'box');
  await writeFile(join(root, 'etc/motd'), 'changed');
  await writeFile(join(root, 'new'), Buffer.alloc(100_000, 7));
  await rm(join(root, 'etc/gone'));
  await rm(join(root, 'var/dir'), { recursive: true });
  const { config } = images.get(base!.id);
  const image = await images.commit({
    snapshotId: 'box',
    parentImageId: base!.id,
    ref: 'mine:1',
    author: 'me',
    comment: 'why not',
    config: { ...config, labels: { a: 'b' } },
  });
  assert.equal(image.diffIds.length, 2);
  assert.deepEqual([image.author, image.comment, image.config.labels], ['me', 'why not', { a: 'b' }]);
  const copy = await rootOf(bench, image.id, 'copy');
  assert.equal(readFileSync(join(copy, 'etc/motd'), 'utf8'), 'changed');
  assert.equal(readFileSync(join(copy, 'new')).length, 100_000);
  assert.equal(existsSync(join(copy, 'etc/gone')), false);
  assert.equal(existsSync(join(copy, 'var/dir')), false);
  assert.ok(existsSync(join(copy, 'var')));
  const saved = Buffer.concat(await (await images.save(['mine:1'])).toArray());
  const other = await setUp(t);
  assert.equal((await other.load(saved))[0]!.id, image.id);
  assert.equal(existsSync(join(await rootOf(other, image.id), 'etc/gone')), false);
});

test('a directory that a layer does not describe keeps what the layers below say of it', async (t) => {
  const bench = await setUp(t);
  const directory = (name: string, mode: number, uid: number): Buffer =>
    tarHeader({
      ...emptyEntry,
      type: 'directory',
      name,
      mode,
      uid,
      mtime: { seconds: 12345, nanoseconds: 0 },
    });
  const base = Buffer.concat([directory('tmp/', 0o1777, 5), directory('opt/', 0o711, 7), tarEnd()]);
  const top = tar({ 'tmp/file': 'x', 'opt/new/file': 'y' });
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [digestOf(base), digestOf(top)] },
  });
  const [image] = await bench.load(
    tar({
      base,
      top,
      'config.json': config,
      'manifest.json': JSON.stringify([
        { Config: 'config.json', RepoTags: ['a:1'], Layers: ['base', 'top'] },
      ]),
    }),
  );
  const root = await rootOf(bench, image!.id);
  const of = (name: string): unknown[] => {
    const { mode, uid, mtimeMs } = statSync(join(root, name));
    return [mode & 0o7777, uid, mtimeMs];
  };
  assert.deepEqual(of('tmp'), [0o1777, 5, 12_345_000]);
  assert.deepEqual(of('opt'), [0o711, 7, 12_345_000]);
  assert.deepEqual(of('opt/new').slice(0, 2), [0o755, 0]);
});

test('committing a container that changed nothing adds no layer', async (t) => {
  const bench = await setUp(t);
  const [base] = await bench.load(oldArchive());
  await rootOf(bench, base!.id, 'box');
  const { config } = bench.images.get(base!.id);
  const options = { snapshotId: 'box', parentImageId: base!.id, author: '', comment: '', config };
  const image = await bench.images.commit(options);
  assert.deepEqual(image.diffIds, bench.images.get(base!.id).diffIds);
});

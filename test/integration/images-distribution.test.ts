import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isle as call } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { type MadeImage, makeImage, serveStreams, streamsTree } from '../fixtures/simplestreams.ts';

interface ImageInspect {
  Id: string;
  Created: string;
  Architecture: string;
  Config: { Cmd: string[]; Labels: Record<string, string>; StopSignal?: string };
}

describe('images of system containers', () => {
  let daemon: TestDaemon;
  let base: string;
  let image: MadeImage;
  before(async () => {
    base = mkdtempSync(join(tmpdir(), 'isle-distribution-'));
    image = makeImage(join(base, 'image'));
    writeFileSync(join(base, 'config.yaml'), 'images: { remotes: { nowhere: "http://127.0.0.1:9/" } }\n');
    daemon = await startDaemon({ busybox: false, args: ['--config', join(base, 'config.yaml')] });
  });
  after(async () => {
    await daemon?.close();
    rmSync(base, { recursive: true, force: true });
  });

  const isle = (...args: string[]) => call(daemon.host, args);
  const ok = async (...args: string[]) => {
    const { code, stdout, stderr } = await isle(...args);
    assert.equal(code, 0, `isle ${args.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  };
  const fails = async (message: RegExp, ...args: string[]) => {
    const { code, stderr } = await isle(...args);
    assert.notEqual(code, 0, `isle ${args.join(' ')} did not fail`);
    assert.match(stderr, message);
  };
  const inspect = async (name: string) =>
    (await daemon.ok('GET', `/images/${name}/json`)).json() as unknown as ImageInspect;
  const left = () =>
    ['blobs/sha256', 'ingest', 'layers'].flatMap((path) => readdirSync(join(daemon.dataRoot, path)));
  const empty = async () => {
    for (const { Id } of (await daemon.ok('GET', '/images/json?all=1')).json<{ Id: string }[]>())
      await daemon.ok('DELETE', `/images/${Id}?force=1`);
    assert.deepEqual(left(), []);
  };
  /** The content of the root, as something that runs in it sees it. */
  const listing = (name: string) =>
    ok(
      'run',
      '--rm',
      '--network',
      'none',
      name,
      'sh',
      '-c',
      'cat /etc/os-release-2 /etc/plain; stat -c "%a %u:%g %n" /owned /tmp /bin/busybox; ls -l /sbin/init; test -c /dev/null && echo device',
    );

  const looksRight = (text: string, withTemplates: boolean) => {
    assert.match(text, /^NAME=Testian\n/);
    assert.equal(text.includes('as it is'), withTemplates);
    assert.match(
      text,
      /644 1000:1001 \/owned\n1777 0:0 \/tmp\n4755 0:0 \/bin\/busybox\n.*-> \/bin\/busybox\ndevice$/,
    );
  };

  test('a unified tarball becomes an image with its properties, and runs', async () => {
    const { stdout, stderr } = await isle('image', 'import', image.unified, 'one');
    assert.equal(stdout, 'one:latest\n');
    assert.match(stderr, /Note: templates that are not filled in: \/etc\/network\/interfaces/);
    const { Config, Created, Architecture } = await inspect('one');
    assert.deepEqual(Config.Cmd, ['/sbin/init']);
    assert.equal(Config.StopSignal, 'SIGUSR2');
    assert.equal(Config.Labels['image.os'], 'Testian');
    assert.equal(Config.Labels['image.serial'], '20231120_05:24');
    assert.match(Created, /^2023-11-14T22:13:20/);
    assert.match(Architecture, /^(amd64|arm64)$/);
    looksRight(await listing('one'), true);
    assert.equal((await isle('image', 'import', image.unified, 'another')).stdout, 'another:latest\n');
    await empty();
  });

  test('metadata and root apart, as tar or squashfs, and a root alone', async () => {
    for (const root of [image.rootTar, image.squashfs]) {
      await ok('image', 'import', image.metadata, root, 'apart');
      looksRight(await listing('apart'), true);
      assert.equal((await inspect('apart')).Config.Labels['image.release'], '12');
      await ok('image', 'import', join(image.directory, 'metadata.yaml'), root, 'plain-yaml');
      assert.equal((await inspect('plain-yaml')).Config.Labels['image.release'], '12');
      await ok('image', 'import', root, 'alone');
      await ok('run', '--rm', '--network', 'none', 'alone', 'test', '!', '-e', '/etc/plain');
      assert.deepEqual((await inspect('alone')).Config.Cmd, ['/sbin/init']);
      await empty();
    }
    await fails(/metadata first, then the root/, 'image', 'import', process.execPath, image.metadata, 'x');
    await fails(/no such file/, 'image', 'import', join(image.directory, 'no.yaml'), image.rootTar, 'x');
  });

  test('an image is exported as a unified tarball and as squashfs, and comes back the same', async () => {
    await ok('image', 'import', image.unified, 'first');
    const files = { lxd: join(base, 'out.tar.gz'), squashfs: join(base, 'out.squashfs') };
    for (const [format, file] of Object.entries(files)) {
      await ok('image', 'export', '--format', format, '-o', file, 'first');
      await ok('image', 'import', file, `from-${format}`);
      looksRight(await listing(`from-${format}`), true);
    }
    assert.equal((await inspect('from-lxd')).Config.Labels['image.os'], 'Testian');
    assert.equal((await inspect('from-lxd')).Created, (await inspect('first')).Created);
    const members = execFileSync('tar', ['-tzf', files.lxd], { encoding: 'utf8' }).split('\n');
    assert.equal(members[0], 'metadata.yaml');
    assert.ok(members.includes('rootfs/etc/os-release'));
    assert.equal(await ok('ps', '-aq'), '');
    await fails(/needs a file/, 'image', 'export', '--format', 'squashfs', 'first');
    await fails(/No such image/, 'image', 'export', 'nothing');
    await empty();
  });

  test("Docker's import is still there, by both names", async () => {
    const id = await ok('import', image.rootTar, 'plain');
    assert.match(id, /^sha256:/);
    assert.equal((await inspect('plain')).Config.Cmd ?? undefined, undefined);
    await ok('image', 'import', '-c', 'CMD ["/bin/sh"]', '-m', 'note', image.rootTar, 'docker-like');
    assert.deepEqual((await inspect('docker-like')).Config.Cmd, ['/bin/sh']);
    await empty();
  });

  test('a simplestreams server is searched and imported from: newest, right machine, tar and squashfs', async () => {
    await using server = await serveStreams(streamsTree(image));
    const rows = await ok('image', 'search', server.url);
    assert.match(rows, /testian\/12 +Testian 12 +default .*20231120_05:24/);
    assert.match(rows, /testian\/12\/cloud/);
    assert.ok(!rows.includes('testian/13'));
    assert.match(await ok('image', 'search', '-aq', server.url, '13'), /^testian\/13$/);
    assert.equal(await ok('image', 'import', server.url, 'testian/12'), `${server.host}/testian:12`);
    looksRight(await listing(`${server.host}/testian:12`), true);
    assert.equal(await ok('image', 'import', server.url, 'Testian/12/Cloud', 'mine:1'), 'mine:1');
    looksRight(await listing('mine:1'), true);
    await fails(/has no image testian\/14.*did you mean/, 'image', 'import', server.url, 'testian/14');
    await fails(/no matching manifest for .*it has linux\//, 'image', 'import', server.url, 'testian/13');
    await empty();
  });

  test('a download that broke is taken up where it broke', async () => {
    const files = streamsTree(image);
    await using server = await serveStreams(files);
    const path = 'images/testian/12/new/root.tar.xz';
    let ranges = 0;
    server.intercept = (asked, response, request) => {
      if (asked !== path) return false;
      if (request.headers.range !== undefined) {
        ranges++;
        return false;
      }
      const content = files.get(path)!;
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, content.length - 1000), () => response.destroy());
      return true;
    };
    await ok('image', 'import', server.url, 'testian/12', 'again');
    assert.equal(ranges, 1);
    await empty();
  });

  test('a server that lies is refused, and leaves nothing', async () => {
    const root = 'images/testian/12/new/root.tar.xz';
    const edit = (change: (products: string) => string) => {
      const files = streamsTree(image);
      files.set(
        'streams/v1/images.json',
        Buffer.from(change(files.get('streams/v1/images.json')!.toString())),
      );
      return files;
    };
    const tampered = streamsTree(image);
    tampered.set(root, Buffer.from(tampered.get(root)!).fill(7, 500, 600));
    const longer = streamsTree(image);
    longer.set(root, Buffer.concat([longer.get(root)!, Buffer.alloc(100_000)]));
    const shorter = streamsTree(image);
    shorter.set(root, shorter.get(root)!.subarray(0, 1000));
    const size = streamsTree(image).get(root)!.length;
    const cases: [string, Map<string, Buffer>, RegExp][] = [
      ['tampered', tampered, /failed verification: its content has the digest/],
      ['longer', longer, /bytes instead of/],
      ['shorter', shorter, /bytes instead of/],
      [
        'a size that lies',
        edit((text) => text.replace(`"size":${size}`, `"size":${size - 1}`)),
        /bytes instead of/,
      ],
      [
        'paths that lead away',
        edit((text) => text.replace(root, 'http://localhost:1/x')),
        /a path that leads elsewhere/,
      ],
      ['no JSON', edit(() => '{"products": '), /not JSON/],
      ['wrong shape', edit(() => '{"products": []}'), /cannot be read/],
      ['no such file', edit((text) => text.replace(root, '../../../etc/passwd')), /404/],
      [
        'a huge index',
        new Map([['streams/v1/index.json', Buffer.alloc(2 << 20, ' ')]]),
        /more than 1048576 bytes/,
      ],
      ['nothing at all', new Map(), /404/],
    ];
    for (const [name, files, message] of cases) {
      await using server = await serveStreams(files);
      const { code, stderr } = await isle('image', 'import', server.url, 'testian/12', 'lied');
      assert.notEqual(code, 0, name);
      assert.match(stderr, message, name);
      assert.deepEqual(readdirSync(join(daemon.dataRoot, 'layers')), [], name);
      assert.deepEqual(readdirSync(join(daemon.dataRoot, 'blobs/sha256')), [], name);
    }
  });

  test('servers are named by the configuration or a URL, and plain HTTP is for loopback only', async () => {
    await fails(
      /neither the URL of an image server nor one of images.remotes .*images, nowhere/,
      'image',
      'import',
      'else:debian/12',
    );
    await fails(/connection refused/, 'image', 'import', 'nowhere:debian/12');
    await fails(/plain HTTP/, 'image', 'import', 'http://192.0.2.1/', 'debian/12');
    await fails(/name the image, too/, 'image', 'import', 'https://192.0.2.1/');
    for (const server of ['file:///etc', 'ftp://x/', 'https://x/?a=b', '', 'constructor', '../x'])
      assert.equal(
        (await daemon.call('GET', `/isle/v1/images/search?server=${encodeURIComponent(server)}`)).status,
        400,
        server,
      );
  });
});

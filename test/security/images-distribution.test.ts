/** Images of system containers made to get out, to take all there is, or to break who reads them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { mount, unmount } from '../../src/host/mount.ts';
import { messageOf } from '../../src/lib/errors.ts';
import { openImages } from '../fixtures/engine-images.ts';
import { archive, directory, link, member, symlink } from '../fixtures/hostile-tar.ts';
import { metadataYaml } from '../fixtures/simplestreams.ts';

const root = [directory('rootfs/'), member('rootfs/file', {}, 'x')];
const yaml = (text: string) => member('metadata.yaml', {}, text);
const good = yaml(metadataYaml);
const xz = (bytes: Buffer) => execFileSync('xz', ['-c', '-0'], { input: bytes, maxBuffer: 1 << 30 });

describe('hostile images of system containers', () => {
  let base: string;
  let under: Awaited<ReturnType<typeof openImages>>;
  before(async () => {
    base = mkdtempSync(join(tmpdir(), 'isle-hostile-root-'));
    await mount('tmpfs', base, 'tmpfs', 0, 'size=96m');
    under = await openImages({}, { dataRoot: base });
  });
  after(async () => {
    await under[Symbol.asyncDispose]();
    await unmount(base, { detach: true });
    rmSync(base, { recursive: true });
  });

  async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
  }
  const importing = (bytes: Buffer, metadata?: Buffer, signal?: AbortSignal) =>
    under.images.importRoot({ archive: pieces(bytes), metadata }, { onProgress: () => {}, signal });
  const left = () => ['blobs/sha256', 'ingest', 'layers'].flatMap((path) => readdirSync(join(base, path)));
  const clean = async () => {
    for (const { id } of under.images.list())
      await under.images.remove(id, { force: true, prune: true, inUse: () => undefined });
    await under.images.prune({ all: true, filters: {}, keep: () => false });
    await under.snapshots.settled();
  };
  const refused = async (name: string, work: Promise<unknown>, why: RegExp) => {
    await assert.rejects(
      work,
      (error) => {
        assert.match(messageOf(error), why, name);
        return true;
      },
      `${name} was not refused`,
    );
    // What was stored before it was known to be bad goes with the next collection.
    await clean();
    assert.deepEqual(left(), [], name);
  };

  test('nothing gets out of the root, and what is no image is told to be none', async () => {
    const canary = join(base, 'canary');
    writeFileSync(canary, 'alive');
    const cases: Record<string, [Buffer, RegExp]> = {
      'a path that climbs': [
        archive(good, ...root, member('rootfs/../../../../canary', {}, 'dead')),
        /leads out of the root/,
      ],
      'a hard link out of rootfs': [
        archive(good, ...root, link('rootfs/l', 'metadata.yaml')),
        /hard link of it leads out/,
      ],
      'a hard link that climbs': [
        archive(good, ...root, link('rootfs/l', 'rootfs/../../canary')),
        /leads out of the root/,
      ],
      'a template that climbs': [
        archive(
          yaml(`${metadataYaml}  /../../../canary:\n    template: p\n`),
          member('templates/p', {}, 'dead'),
          ...root,
        ),
        /leads out of the root/,
      ],
      'a template file that climbs': [
        archive(yaml(`${metadataYaml}  /x:\n    template: ../../x\n`), ...root),
        /no valid file name/,
      ],
      'no metadata': [archive(...root), /no metadata\.yaml/],
      'no root': [archive(good), /no root file system/],
      nothing: [archive(), /no root file system/],
      'cut short': [archive(good, ...root).subarray(0, 2000), /cut|end|short/i],
      'xz cut short': [xz(archive(good, ...root)).subarray(0, 100), /damaged/],
      noise: [Buffer.alloc(10_000, 'noise'), /./],
      'no bytes at all': [Buffer.alloc(0), /./],
    };
    for (const [name, [bytes, why]] of Object.entries(cases)) await refused(name, importing(bytes), why);
    assert.equal(readFileSync(canary, 'utf8'), 'alive');
    // An absolute name starts at the root, and so does a link.
    await importing(
      archive(
        good,
        ...root,
        symlink('rootfs/out', '/'),
        member('rootfs/out/canary', {}, 'x'),
        member('/rootfs/abs'),
      ),
    );
    assert.equal(readFileSync(canary, 'utf8'), 'alive');
    await clean();
  });

  test('metadata that is malformed, huge, deep or a bomb is refused at once', async () => {
    const lol = ['a: &a ["x","x","x","x","x","x","x","x","x"]'];
    for (const [one, other] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg'].map((pair) => [pair[0], pair[1]]))
      lol.push(
        `${other}: &${other} [*${one},*${one},*${one},*${one},*${one},*${one},*${one},*${one},*${one}]`,
      );
    const cases: Record<string, [string, RegExp]> = {
      'a bomb of aliases': [lol.join('\n'), /Alias resolution is disabled/],
      'deep nesting': ['['.repeat(50_000), /cannot be read|no map/],
      'deep keys': ['? '.repeat(20_000), /cannot be read|no map/],
      'no map': ['- a\n- b\n', /no map/],
      'no architecture': ['properties: {}\n', /names no architecture/],
      'architecture that is a path': ['architecture: ../../x\n', /names no architecture/],
      'unknown architecture': ['architecture: [x]\n', /names no architecture/],
      'many templates': [
        `architecture: x86_64\ntemplates:\n${Array.from({ length: 300 }, (_, i) => `  /t${i}: {template: a}`).join('\n')}`,
        /more than 200 entries/,
      ],
      'two of one key': ['architecture: x86_64\narchitecture: x86_64\n', /unique|cannot be read/],
      'too long': [`architecture: x86_64\n#${'x'.repeat(70_000)}`, /70\d+ bytes, more than/],
    };
    for (const [name, [text, why]] of Object.entries(cases)) {
      await refused(name, importing(archive(yaml(text), ...root)), why);
      await refused(
        `${name}, apart`,
        importing(archive(member('file', {}, 'x')), Buffer.from(text)),
        why.source.includes('70') ? /./ : why,
      );
    }
    await refused(
      'a small file of much metadata',
      importing(archive(member('file', {}, 'x')), xz(Buffer.concat([good, Buffer.alloc(64 << 20)]))),
      /unpacks to more than|damaged|zero/,
    );
    await refused(
      'sparse metadata',
      importing(archive(member('metadata.yaml', { size: 1 << 40, sparse: [0, 1] }, 'x'), ...root)),
      /bytes, more than/,
    );
    const odd = yaml(
      'architecture: x86_64\ncreation_date: 9e99\nproperties:\n  os: "a\\u0000\\e[31mb"\n  "bad key": x\n  __proto__: y\n  list: [1]\n',
    );
    const { config, createdAt } = await importing(archive(odd, ...root));
    assert.deepEqual(config.labels, { 'image.os': 'a [31mb' });
    assert.ok(Date.parse(createdAt) > Date.parse('2026-01-01'));
    await clean();
  });

  test('an image that is larger than the disk is given up in time, as tar and as squashfs', async () => {
    const zeros = xz(
      Buffer.concat([
        member('rootfs/zeros', { size: 200 << 20 }).subarray(0, 512),
        Buffer.alloc(200 << 20),
        archive(),
      ]),
    );
    assert.ok(zeros.length < 1 << 20);
    await refused('zeros', importing(zeros), /no space left/);
    const source = join(base, 'source');
    mkdirSync(source);
    writeFileSync(join(source, 'sparse'), '');
    truncateSync(join(source, 'sparse'), 2 ** 30);
    const bomb = squash(source);
    assert.ok(bomb.length < 1 << 20);
    await refused('a gigabyte in squashfs', importing(bomb), /no space left/);
    rmSync(source, { recursive: true });
    await noReader();
  });

  test('damaged squashfs images end with an error and not with a process', async () => {
    const source = join(base, 'source');
    mkdirSync(join(source, 'sub'), { recursive: true });
    for (let i = 0; i < 50; i++)
      writeFileSync(join(source, 'sub', `file-${i}`), `content ${i}`.repeat(i * 10));
    const whole = squash(source);
    rmSync(source, { recursive: true });
    await refused('cut short', importing(whole.subarray(0, 1000)), /squashfs cannot be read/);
    // Its reader is done before the metadata is: nobody listens yet when the root breaks off.
    const packed = execFileSync('xz', ['-c'], { input: archive(good) });
    await refused('cut short, with metadata', importing(whole.subarray(0, 1000), packed), /squashfs cannot/);
    await refused('its magic alone', importing(Buffer.from('hsqs')), /squashfs cannot be read/);
    await refused(
      'noise behind the magic',
      importing(Buffer.concat([Buffer.from('hsqs'), Buffer.alloc(5000, 'x')])),
      /squashfs cannot be read/,
    );
    // Bytes of the super block and of the tables, bent one at a time: refused or read, never stuck.
    for (let at = 4; at < 96; at += 7) await bent(whole, at);
    for (let at = 1; at < 8; at++) await bent(whole, whole.length - Math.floor((whole.length / 10) * at));
    await noReader();
  });

  async function bent(whole: Buffer, at: number): Promise<void> {
    const copy = Buffer.from(whole);
    copy[at]! ^= 0x5a;
    await importing(copy).catch((error: unknown) =>
      assert.match(messageOf(error), /squashfs|root|tar|archive|layer/),
    );
    await clean();
    assert.deepEqual(left(), []);
  }

  test('the reader of squashfs is nobody, without a network, and writes nothing', async () => {
    const tools = join(base, 'tools');
    mkdirSync(tools, { mode: 0o755 });
    const spy = `#!/bin/sh\nexec 2>/dev/null\nid -u; grep -E 'CapBnd|CapEff|NoNewPrivs' /proc/self/status; wc -l < /proc/net/route; (echo x > /tmp/isle-spy-$$) || echo no-write; rm -f /tmp/isle-spy-$$; ls -d ${base} && ls ${base}/blobs || echo no-look\nexit 3\n`;
    writeFileSync(join(tools, 'sqfs2tar'), spy, { mode: 0o755 });
    const path = process.env.PATH;
    process.env.PATH = `${tools}:${path}`;
    execFileSync('chmod', ['711', base]);
    try {
      const { squashfsTar } = await import('../../src/images/distribution/squashfs.ts');
      const file = join(base, 'spied');
      writeFileSync(file, 'hsqs', { mode: 0o444 });
      let told = '';
      await assert.rejects(async () => {
        for await (const piece of squashfsTar(file)) told += piece.toString();
      }, /squashfs cannot be read/);
      rmSync(file);
      const [uid, ...rest] = told.split('\n');
      assert.equal(uid, '65534', told);
      assert.match(told, /CapEff:\s+0+\n/);
      assert.match(told, /CapBnd:\s+0+\n/);
      assert.match(told, /NoNewPrivs:\s+1\n/);
      assert.ok(rest.includes('no-write') && rest.includes('no-look'), told);
      assert.ok(rest.includes('1') || rest.includes('0'), `it sees routes: ${told}`);
    } finally {
      process.env.PATH = path;
      rmSync(tools, { recursive: true });
    }
  });

  test('a client that goes away in the middle leaves nothing', async () => {
    const gone = new AbortController();
    async function* endless(): AsyncGenerator<Buffer> {
      yield archive(good, ...root).subarray(0, 3000);
      gone.abort(new DOMException('the client is gone', 'AbortError'));
      for (;;) yield Buffer.alloc(512);
    }
    await assert.rejects(
      under.images.importRoot({ archive: endless() }, { onProgress: () => {}, signal: gone.signal }),
      { name: 'AbortError' },
    );
    await clean();
    assert.deepEqual(left(), []);
  });
});

function squash(source: string): Buffer {
  const path = `${source}.squashfs`;
  execFileSync('mksquashfs', [source, path, '-noappend', '-quiet', '-no-progress', '-comp', 'gzip'], {
    stdio: 'ignore',
  });
  try {
    return readFileSync(path);
  } finally {
    rmSync(path);
  }
}

/** One that was killed is still seen for a moment. */
async function noReader(): Promise<void> {
  const children = () =>
    execFileSync('ps', ['-o', 'comm=', '--ppid', String(process.pid)], { encoding: 'utf8' });
  for (let tries = 0; /sqfs|unshare|xz/.test(children()); tries++, await sleep(50))
    assert.ok(tries < 100, children());
}

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { seedFiles } from './cloud-init.ts';
import { isoImage } from './iso-image.ts';
import { writeSeed } from './seed.ts';
import { toYaml } from './yaml.ts';

const directory = mkdtempSync(join(tmpdir(), 'isle-seed-'));
after(() => rmSync(directory, { recursive: true }));

const hash = '$6$salt$abcDEF./';
const key = 'ssh-ed25519 AAAAC3Nza me@here';
const links = [
  { macAddress: '02:42:AC:11:00:02', addresses: ['172.17.0.2/16'] },
  { macAddress: '02:42:ac:12:00:02', addresses: ['172.18.0.2/16', 'fd00::2/64'] },
];

/**
 * What PyYAML, cloud-init's reader, makes of each of the texts; as JSON, so that types show. Keys and values in pairs: V8 14.x
 * (Node 26.10) reads a key that is one escape, such as "\\t", as another one at times.
 */
function asCloudInitReads(texts: readonly string[]): unknown[] {
  const script =
    'import json,sys,yaml\nprint(json.dumps([list(yaml.safe_load(t).items()) for t in json.load(sys.stdin)]))';
  const { stdout, stderr } = spawnSync('python3', ['-c', script], {
    input: JSON.stringify(texts),
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  assert.equal(stderr, '');
  return JSON.parse(stdout) as unknown[];
}

test('whatever a user types is read back as it was, by YAML 1.1 and 1.2', () => {
  const nasty = fc.constantFrom(
    'yes',
    '0644',
    '2026-01-02',
    '~',
    '!!python/object:os.system',
    '"',
    "'",
    '\\',
    'a: b',
    '- x',
    '#',
    '&a *a',
    '\u0085',
    '\u2028\u2029',
    '\ufeff',
    '\x7f\x9b',
    '😀',
    '\n---\n',
    '%TAG',
    '\t',
    '${x}',
    '{{ x }}',
    '\r\n',
  );
  const word = fc.oneof(nasty, fc.string({ unit: 'binary' })).filter((one) => one.isWellFormed());
  const data = fc.dictionary(
    word.filter((one) => one !== '__proto__'),
    fc.oneof(word, fc.array(word)),
  );
  const samples = fc.sample(data, 300).map((one) => ({ ...one }));
  const texts = samples.map(toYaml);
  assert.deepEqual(
    asCloudInitReads(texts),
    samples.map((one) => Object.entries(one)),
  );
  for (const [at, text] of texts.entries())
    for (const version of ['1.1', '1.2'] as const)
      assert.deepEqual({ ...parse(text, { version }) }, samples[at]);
  assert.throws(() => toYaml({ a: '\ud800' }), /not valid Unicode/);
});

test('keys and a password are the default user’s, or of one of his own', () => {
  const config = (more: object) => {
    const text = seedFiles({ sshKeys: [key], instanceId: 'i-1', ...more }, links)['user-data']!;
    assert.match(text, /^#cloud-config\n/);
    return parse(text) as Record<string, unknown>;
  };
  assert.deepEqual(config({ hostname: 'deb', passwordHash: hash }), {
    hostname: 'deb',
    ssh_authorized_keys: [key],
    password: hash,
    chpasswd: { expire: false },
  });
  const { users, chpasswd, disable_root } = config({
    user: 'ann',
    passwordHash: hash,
    root: { passwordHash: hash, sshKeys: [key] },
  });
  assert.deepEqual(chpasswd, { expire: false, list: [`root:${hash}`, `ann:${hash}`] });
  assert.equal(disable_root, false);
  const [first, ann, root] = users as { name?: string }[];
  assert.equal(first, 'default');
  assert.deepEqual([ann?.name, root?.name], ['ann', 'root']);
});

test('files of the user’s are passed on byte by byte, the rest stands beside', () => {
  const files = seedFiles(
    {
      sshKeys: [key],
      instanceId: 'i-1',
      userData: '#!/bin/sh\necho "ä"\r\n',
      metaData: 'x',
      networkConfig: '',
    },
    links,
  );
  assert.equal(files['user-data'], '#!/bin/sh\necho "ä"\r\n');
  assert.equal(files['meta-data'], 'x');
  assert.equal(files['network-config'], '');
  assert.match(files['vendor-data'] ?? '', /ssh-ed25519/);
});

test('each card asks for what its network answers', () => {
  const files = seedFiles({ sshKeys: [], instanceId: 'i-1', hostname: 'deb' }, links);
  assert.deepEqual(parse(files['network-config']!), {
    version: 2,
    ethernets: {
      eth0: { match: { macaddress: '02:42:ac:11:00:02' }, 'set-name': 'eth0', dhcp4: true, dhcp6: false },
      eth1: { match: { macaddress: '02:42:ac:12:00:02' }, 'set-name': 'eth1', dhcp4: true, dhcp6: true },
    },
  });
  assert.deepEqual(parse(files['meta-data']!), { 'instance-id': 'i-1', 'local-hostname': 'deb' });
});

test('a seed is a CD that others read: Rock Ridge, Joliet and plain', async () => {
  const path = join(directory, 'seed.iso');
  // Left behind by a crash, or put there by someone who wants it followed.
  symlinkSync('/etc/isle-seed-canary', `${path}.new`);
  const userData = `#cloud-config\n# ${'ä'.repeat(5000)}\n`;
  await writeSeed(path, { sshKeys: [key], instanceId: 'i-1', userData }, links);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const names = ['meta-data', 'network-config', 'user-data', 'vendor-data'];
  const expected = seedFiles({ sshKeys: [key], instanceId: 'i-1', userData }, links);
  const isoinfo = (...args: string[]) =>
    execFileSync('isoinfo', ['-i', path, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  assert.match(
    isoinfo('-d').toString(),
    /Volume id: cidata\n[^]*Joliet with UCS level 3 found[^]*Rock Ridge signatures version 1 found/,
  );
  for (const name of names) {
    assert.equal(isoinfo('-R', '-x', `/${name}`).toString(), expected[name]);
    assert.equal(isoinfo('-J', '-x', `/${name}`).toString(), expected[name]);
    assert.equal(execFileSync('bsdtar', ['-xOf', path, name]).toString(), expected[name]);
  }
  assert.match(isoinfo('-l').toString(), /FILE0000\.;1/);
  assert.deepEqual(execFileSync('bsdtar', ['-tf', path]).toString().split('\n').sort(), ['', '.', ...names]);
  assert.equal(execFileSync('blkid', ['-p', '-o', 'value', '-s', 'LABEL', path]).toString(), 'cidata\n');
  assert.equal(execFileSync('blkid', ['-p', '-o', 'value', '-s', 'TYPE', path]).toString(), 'iso9660\n');
});

test('files of any length keep their bytes', () => {
  const path = join(directory, 'lengths.iso');
  fc.assert(
    fc.property(fc.array(fc.nat(5000), { minLength: 1, maxLength: 4 }), (lengths) => {
      const files = lengths.map((length, at) => ({
        name: `f-${at}`,
        content: Buffer.alloc(length, at + 65),
      }));
      writeFileSync(path, isoImage('cidata', files, new Date(0)));
      assert.equal(readFileSync(path).length % 2048, 0);
      for (const { name, content } of files)
        assert.ok(execFileSync('bsdtar', ['-xOf', path, name]).equals(content));
    }),
    { numRuns: 20 },
  );
});

test('what would be lines of their own in a guest is refused', async () => {
  const path = join(directory, 'refused.iso');
  const refused: [object, RegExp][] = [
    [{ user: 'a:b' }, /"a:b" is not a user's name/],
    [{ passwordHash: 'secret' }, /is not a password's hash/],
    [{ passwordHash: `${hash}\nroot:x` }, /is not a password's hash/],
    [{ sshKeys: [`${key}\nssh-rsa BBBB`] }, /is not an SSH key/],
    [{ hostname: '\udc00' }, /not valid Unicode/],
    [{ userData: 'x'.repeat(17 << 20) }, /at most 16777216/],
  ];
  for (const [more, message] of refused)
    await assert.rejects(writeSeed(path, { sshKeys: [], instanceId: 'i', ...more }, []), message);
});

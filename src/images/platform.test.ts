import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIsleError } from '../lib/errors.ts';
import {
  choosePlatform,
  formatPlatform,
  parseImagePlatform,
  parsePlatform,
  satisfiesPlatform,
} from './platform.ts';

const choose = (wanted: string, ...there: string[]) =>
  choosePlatform(
    there.map((text) => {
      const [os = '', architecture = '', variant] = text.split('/');
      return { text, platform: { os, architecture, variant } };
    }),
    parsePlatform(wanted),
  )?.text;

test('platforms are spelled in one way', () => {
  const cases = [
    ['linux/amd64', 'linux/amd64'],
    ['Linux/x86_64', 'linux/amd64'],
    ['amd64', 'linux/amd64'],
    ['aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['arm', 'linux/arm/v7'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['armhf', 'linux/arm/v7'],
    ['i386', 'linux/386'],
  ];
  for (const [text = '', spelled] of cases) assert.equal(formatPlatform(parsePlatform(text)), spelled);
});

test('the best that runs is chosen', () => {
  assert.equal(choose('linux/amd64', 'linux/arm64', 'linux/amd64'), 'linux/amd64');
  assert.equal(choose('linux/arm/v7', 'linux/arm/v5', 'linux/arm/v6', 'linux/arm64'), 'linux/arm/v6');
  assert.equal(choose('linux/arm/v6', 'linux/arm/v7'), undefined);
  assert.equal(choose('linux/arm64', 'linux/arm/v7', 'linux/arm64/v8'), 'linux/arm64/v8');
  assert.equal(choose('linux/arm64', 'linux/arm/v7'), 'linux/arm/v7');
  assert.equal(choose('linux/amd64/v3', 'linux/amd64', 'linux/amd64/v2', 'linux/amd64/v4'), 'linux/amd64/v2');
  assert.equal(choose('linux/amd64', 'linux/386'), 'linux/386');
  assert.equal(choose('linux/s390x', 'linux/amd64', 'unknown/unknown'), undefined);
  assert.equal(
    satisfiesPlatform({ os: 'linux', architecture: 'arm64', variant: 'v8' }, parsePlatform('arm64')),
    true,
  );
});

test('what is no platform is refused', () => {
  for (const text of ['', 'a/b/c/d', 'linux/', '/amd64', 'linux/am d64', '../x', `linux/${'a'.repeat(99)}`])
    assert.throws(() => parsePlatform(text), { code: 'invalidParameter' }, text);
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parsePlatform(text);
      } catch (error) {
        assert.ok(isIsleError(error, 'invalidParameter'));
      }
    }),
  );
});

test('an image is made for what Linux runs on', () => {
  assert.equal(formatPlatform(parseImagePlatform('linux/arm/v6')), 'linux/arm/v6');
  assert.equal(formatPlatform(parseImagePlatform('aarch64')), 'linux/arm64');
  assert.throws(() => parseImagePlatform('windows/amd64'), /operating system "windows" is not supported/);
  assert.throws(() => parseImagePlatform('linux/amd46'), /no architecture of Linux.*amd64/);
});

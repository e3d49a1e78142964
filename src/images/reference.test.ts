import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIsleError } from '../lib/errors.ts';
import {
  canonicalName,
  canonicalRepository,
  familiarName,
  parseReference,
  withDefaultTag,
} from './reference.ts';

const hex = 'a'.repeat(64);

test('names are normalized as Docker does', () => {
  const cases: [string, string, string][] = [
    ['busybox', 'docker.io/library/busybox', 'busybox'],
    ['docker.io/busybox', 'docker.io/library/busybox', 'busybox'],
    ['index.docker.io/busybox:1', 'docker.io/library/busybox:1', 'busybox:1'],
    ['library/busybox', 'docker.io/library/busybox', 'busybox'],
    ['team/app:v1', 'docker.io/team/app:v1', 'team/app:v1'],
    ['localhost/app', 'localhost/app', 'localhost/app'],
    ['localhost:5000/a/b/c:x', 'localhost:5000/a/b/c:x', 'localhost:5000/a/b/c:x'],
    ['[::1]:5000/a', '[::1]:5000/a', '[::1]:5000/a'],
    ['HOST/a', 'HOST/a', 'HOST/a'],
    ['xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com/myimage:xn--n3h.com'],
    ['a__b/c---d', 'docker.io/a__b/c---d', 'a__b/c---d'],
    [`busybox:1@sha256:${hex}`, `docker.io/library/busybox:1@sha256:${hex}`, `busybox:1@sha256:${hex}`],
  ];
  for (const [text, canonical, familiar] of cases) {
    assert.equal(canonicalName(parseReference(text)), canonical);
    assert.equal(familiarName(parseReference(text)), familiar);
  }
  assert.equal(withDefaultTag(parseReference('a')).tag, 'latest');
  assert.equal(withDefaultTag(parseReference(`a@sha256:${hex}`)).tag, undefined);
  assert.equal(canonicalRepository(parseReference('a:b')), 'docker.io/library/a');
});

test('what the grammar forbids is refused with the reason', () => {
  const cases: [string, RegExp][] = [
    ['', /empty/],
    [hex, /image id/],
    ['Foo', /must be lowercase/],
    ['-foo', /cannot be part/],
    ['a//b', /cannot be part/],
    ['a/../b', /cannot be part/],
    ['.', /cannot be part/],
    ['a___b', /cannot be part/],
    ['a..b', /cannot be part/],
    ['a:', /not a tag/],
    ['a:-x', /not a tag/],
    [`a:${'x'.repeat(129)}`, /not a tag/],
    ['a b', /cannot be part/],
    ['a\nb', /cannot be part/],
    ['a@sha256:12', /not a digest/],
    [`a@sha512:${hex}`, /only sha256/],
    [`a@sha256:${'A'.repeat(64)}`, /only sha256/],
    [`a@sha256:${hex}@sha256:${hex}`, /more than one/],
    ['-a.com/b', /not a registry/],
    ['a.com:port/b', /not a registry/],
    [`localhost/${'a/'.repeat(128)}a`, /more than 255/],
    ['a'.repeat(2000), /longer than/],
    ['http://example.com/a', /not a registry|cannot be part/],
  ];
  for (const [text, why] of cases) {
    assert.throws(() => parseReference(text), { code: 'invalidReference', message: why }, text);
  }
});

const alnum = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const component = fc
  .tuple(alnum, fc.array(fc.tuple(fc.constantFrom('.', '_', '__', '-', '---'), alnum), { maxLength: 3 }))
  .map(([first, rest]) => first + rest.map(([separator, word]) => separator + word).join(''));
const domain = fc.oneof(
  fc.constantFrom('docker.io', 'localhost', '[::1]:5000', '127.0.0.1:5000', 'Upper'),
  fc.tuple(alnum, alnum).map(([a, b]) => `${a}.${b}`),
  fc.tuple(alnum, fc.integer({ min: 1, max: 65_535 })).map(([a, port]) => `${a}:${port}`),
);
const reference = fc.record(
  {
    domain,
    path: fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
    tag: fc.stringMatching(/^\w[\w.-]{0,20}$/),
    digest: fc.stringMatching(/^[0-9a-f]{64}$/).map((digits) => `sha256:${digits}`),
  },
  { requiredKeys: ['domain', 'path'] },
);

test('every valid reference survives the round trip through its canonical and its familiar form', () => {
  fc.assert(
    fc.property(reference, (ref) => {
      const parsed = parseReference(canonicalName(ref));
      assert.deepEqual(parseReference(canonicalName(parsed)), parsed);
      assert.deepEqual(parseReference(familiarName(parsed)), parsed);
    }),
    { numRuns: 1000 },
  );
});

test('no text makes the parser throw anything but invalidReference, or takes it long', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.string({ unit: fc.constantFrom(...'a.-_/:@[]0A%\0\n'.split('')), maxLength: 1200 }),
    fc.constantFrom(
      'a-'.repeat(500),
      `${'a.'.repeat(500)}!`,
      `${'a-'.repeat(120)}!/b`,
      '__proto__',
      'constructor',
    ),
  );
  fc.assert(
    fc.property(text, (hostile) => {
      const start = performance.now();
      try {
        const ref = parseReference(hostile);
        assert.deepEqual(parseReference(canonicalName(ref)), ref);
      } catch (error) {
        assert.ok(isIsleError(error, 'invalidReference'), String(error));
        assert.doesNotMatch(error.message, /[\0\n\r]/);
      }
      assert.ok(performance.now() - start < 200);
    }),
    { numRuns: 2000 },
  );
});

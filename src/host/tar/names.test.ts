import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { TarError } from '../../lib/tar/entry.ts';
import { cleanPath } from './names.ts';

const part = fc.constantFrom('.', '..', '', 'a', 'b c', '...', '.wh.x', 'ÿ');
const name = fc.array(part, { maxLength: 60 }).map((parts) => parts.join('/'));

test('a clean name stays inside, and means what it meant', () => {
  fc.assert(
    fc.property(name, (given) => {
      let clean: string;
      try {
        clean = cleanPath(given);
      } catch (error) {
        assert.ok(error instanceof TarError);
        // Refused is what climbs above its start somewhere, even when it comes back.
        let depth = 0;
        let lowest = 0;
        for (const one of given.split('/')) {
          if (one === '..') depth--;
          else if (one !== '' && one !== '.') depth++;
          lowest = Math.min(lowest, depth);
        }
        assert.ok(lowest < 0, given);
        return;
      }
      for (const one of clean === '' ? [] : clean.split('/'))
        assert.ok(!['', '.', '..'].includes(one), clean);
      assert.equal(`/${clean}`, posix.normalize(`/${given}`).replace(/(.)\/$/, '$1'));
      assert.equal(cleanPath(clean), clean);
    }),
    { numRuns: 1000 },
  );
});

test('a name with a NUL is refused, on the short way too', () => {
  for (const bad of ['a\0b', '\0', 'a/b\0', './a\0']) assert.throws(() => cleanPath(bad), TarError);
});

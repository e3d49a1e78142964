import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIsleError } from '../lib/errors.ts';
import { parseUserns, usualIds } from '../lib/userns.ts';
import { defaultArea, type IdArea, IdMaps } from './id-maps.ts';
import type { IdMap } from './runtime.ts';

const area = { first: 2_000_000_000, last: 2_000_000_000 + 8 * usualIds - 1 };

function maps(used: IdMap[] = [], taken: IdArea[] = []): IdMaps {
  return new IdMaps({ area, seed: 'test', used: () => used, taken: async () => taken });
}

function overlap(a: IdMap, b: IdMap): boolean {
  return a.hostId < b.hostId + b.size && b.hostId < a.hostId + a.size;
}

test('ranges never overlap, whoever asks at once, until none is left', async () => {
  const used: IdMap[] = [];
  const ids = maps(used);
  const taken = await Promise.all(Array.from({ length: 8 }, () => ids.take(usualIds)));
  for (const [i, { map }] of taken.entries()) {
    assert.ok(map.hostId >= area.first && map.hostId + map.size - 1 <= area.last);
    for (const other of taken.slice(i + 1)) assert.equal(overlap(map, other.map), false);
  }
  await assert.rejects(
    ids.take(256),
    (error) => isIsleError(error, 'conflict') && /no 256 ids are left/.test(error.message),
  );
  // One that became a container's stays, one that was given up is free again.
  used.push(taken[0]!.map);
  for (const each of taken) each[Symbol.dispose]();
  const next = await ids.take(7 * usualIds).catch(() => undefined);
  const seven = next ?? (await ids.take(usualIds));
  assert.equal(overlap(seven.map, used[0]!), false);
});

test('what the host gives to its users is left out, however little of a block it is', async () => {
  const block = (n: number): number => area.first + n * usualIds;
  const taken = [
    { first: block(1) + 5, last: block(1) + 5 },
    { first: block(2) - 1, last: block(4) },
    { first: 0, last: 100_000 },
    { first: block(7), last: area.last + 1_000_000 },
  ];
  const ids = maps([], taken);
  const free = await Promise.all([1, 2, 3].map(() => ids.take(1000)));
  assert.deepEqual(
    free.map(({ map }) => (map.hostId - area.first) / usualIds).toSorted((a, b) => a - b),
    [0, 5, 6],
  );
  await assert.rejects(ids.take(1000));
});

test('a large range takes blocks that lie together', async () => {
  const ids = maps([{ hostId: area.first + 3 * usualIds, size: 1 }]);
  const { map } = await ids.take(4 * usualIds);
  assert.equal(map.hostId, area.first + 4 * usualIds);
  for (const wrong of [0, -1, 255, 1000.5, Number.NaN, 17 * usualIds])
    await assert.rejects(ids.take(wrong), (error) => isIsleError(error, 'invalidParameter'));
});

test('the usual area is above what others take and has room for thousands', () => {
  assert.ok(defaultArea.first > 1_879_048_191);
  assert.ok(defaultArea.last < 2_147_352_576);
  assert.ok((defaultArea.last - defaultArea.first + 1) / usualIds > 4000);
});

test('what --userns may say', () => {
  assert.deepEqual(parseUserns(''), { mode: 'usual', size: usualIds });
  assert.deepEqual(parseUserns('host').mode, 'host');
  assert.deepEqual(parseUserns('auto:size=70000'), { mode: 'own', size: 70_000 });
  assert.deepEqual(parseUserns('private'), parseUserns('auto'));
  for (const wrong of [
    'keep-id',
    'auto:',
    'auto:size=',
    'auto:size=-1',
    'auto:uidmapping=0:1:2',
    'container:x',
    'auto\n',
  ])
    assert.throws(() => parseUserns(wrong), /auto, auto:size=N, private or host/);
});

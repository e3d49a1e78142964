import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../lib/log.ts';
import { memoryStore } from '../lib/table.ts';
import { publishContainer } from './containers/events.ts';
import { EventLog } from './event-log.ts';
import type { EngineEvent } from './events.ts';
import { parsePruneFilters } from './prune-filters.ts';
import { fromNanoseconds, nowNanoseconds, toNanoseconds } from './time.ts';

const newLog = (store = memoryStore()) => new EventLog(store, silentLog());

test('sequences go on after a restart and times never repeat', () => {
  const store = memoryStore();
  const first = newLog(store);
  for (let i = 0; i < 3000; i++) first.publish('container', 'start', `id${i}`, {});
  const second = newLog(store);
  second.publish('container', 'die', 'last', {});
  const past = second.past({ filters: {} });
  assert.equal(past.length, 2048);
  assert.equal(past.at(-1)?.sequence, 3001);
  assert.ok(past.every((event, i) => i === 0 || BigInt(event.timeNano) > BigInt(past[i - 1]!.timeNano)));
});

test('values of one key are alternatives, keys must all fit, some actions match by prefix', () => {
  const log = newLog();
  const seen: EngineEvent[] = [];
  const attributes = { name: 'web', image: 'busybox:latest', tier: 'front' };
  log.publish('container', 'exec_create: ls', 'abcdef123456', attributes);
  log.publish('network', 'connect', 'net1', { container: 'abcdef123456', name: 'bridge' });
  const count = (filters: Record<string, string[]>) => log.past({ filters }).length;
  assert.equal(count({ event: ['exec_create'] }), 1);
  assert.equal(count({ event: ['die', 'connect'] }), 1);
  assert.equal(count({ container: ['web'] }), 1);
  assert.equal(count({ container: ['abcdef'] }), 2);
  assert.equal(count({ type: ['network'], event: ['exec_create'] }), 0);
  assert.equal(count({ image: ['busybox'] }), 1);
  assert.equal(count({ label: ['tier=front'] }), 1);
  assert.equal(count({ label: ['tier=back'] }), 0);
  const stop = log.subscribe({ filters: { type: ['volume'] } }, (event) => seen.push(event));
  log.publish('volume', 'create', 'v', {});
  stop();
  log.publish('volume', 'destroy', 'v', {});
  assert.deepEqual(
    seen.map(({ action }) => action),
    ['create'],
  );
});

test('events stay small whatever labels and commands there are', () => {
  const events = newLog();
  const spec = { image: 'busybox' };
  publishContainer({ events }, { id: 'a', name: 'small', labels: { tier: 'front' }, spec }, 'start');
  const labels = { tier: 'x'.repeat(1_000_000) };
  const action = `exec_create: ${'y'.repeat(1_000_000)}`;
  publishContainer({ events }, { id: 'b', name: 'large', labels, spec }, action);
  const [small, large] = events.past({ filters: {} });
  assert.equal(small?.actor.attributes.tier, 'front');
  assert.ok(JSON.stringify(large).length < 100_000);
  assert.equal(large?.actor.attributes.name, 'large');
});

test('a listener that throws hurts nobody', () => {
  const log = newLog();
  log.subscribe({ filters: {} }, () => {
    throw new Error('no');
  });
  log.publish('daemon', 'reload', '', {});
});

test('times keep their nanoseconds in both directions', () => {
  const time = '2026-01-02T03:04:05.123456789Z';
  assert.equal(fromNanoseconds(toNanoseconds(time)), time);
  assert.equal(toNanoseconds('1970-01-01T01:00:00+01:00'), 0n);
  assert.ok(Math.abs(Number(nowNanoseconds() / 1_000_000n) - Date.now()) < 1000);
});

test('prune filters: labels, until, all; others are refused', () => {
  const label = parsePruneFilters({ label: ['a=1'], 'label!': ['keep'] }, ['label', 'label!']);
  assert.ok(label.matches({ a: '1' }, ''));
  assert.ok(!label.matches({ a: '2' }, ''));
  assert.ok(!label.matches({ a: '1', keep: '' }, ''));
  const until = parsePruneFilters({ until: ['1h'] }, ['until']);
  assert.ok(until.matches({}, '2020-01-01T00:00:00Z'));
  assert.ok(!until.matches({}, new Date().toISOString()));
  assert.throws(() => parsePruneFilters({ nope: ['1'] }, ['until']), /invalid filter 'nope'/);
  assert.throws(() => parsePruneFilters({ until: ['soon'] }, ['until']), /invalid duration/);
  assert.throws(() => parsePruneFilters({ all: ['maybe'] }, ['all']), /invalid filter 'all/);
});

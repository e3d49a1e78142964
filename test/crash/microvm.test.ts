import assert from 'node:assert/strict';
import type { Recovered } from '../../src/engine/runtime.ts';
import { monitorInstance } from '../../src/runtimes/microvm/parts.ts';
import { microvmFixture } from '../fixtures/microvm.ts';
import { lives, pointsOf } from './runtime-lives.ts';

const isPooled = (point: string): boolean => point.startsWith('microvm.adopt.');
const all = pointsOf('src/runtimes/microvm/*.ts');
const points = all.filter((point) => !isPooled(point));
assert.ok(points.length > 10, 'the failpoints were found');

lives({
  title: 'a daemon killed in the middle of a microVM’s life',
  runtime: 'microvm',
  async open() {
    const fixture = await microvmFixture();
    return { ...fixture, instance: monitorInstance(fixture.instance) };
  },
  points,
  creates: { within: 150, rounds: 6 },
  states,
});

lives({
  title: 'a daemon killed while a guest that waits gets its workload',
  runtime: 'pooled microvm',
  async open() {
    const fixture = await microvmFixture({ pool: 1 });
    return { ...fixture, instance: monitorInstance(fixture.instance) };
  },
  points: all.filter(isPooled),
  // The guest that it got before it was created is ended.
  states: (done) => [...states(done), 'exited'],
});

/** A guest that was booted without being told what to run is of no use to anybody: it is ended, and that is told. */
function states(done: string[]): Recovered['state'][] {
  switch (done.at(-1)) {
    case undefined:
      return ['gone', 'created'];
    case 'create':
      return ['created', 'exited', 'running'];
    case 'start':
      return ['running'];
    default:
      return ['running', 'exited', 'gone'];
  }
}

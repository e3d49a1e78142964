import assert from 'node:assert/strict';
import type { Recovered } from '../../src/engine/runtime.ts';
import { monitorInstance } from '../../src/runtimes/microvm/parts.ts';
import { microvmFixture } from '../fixtures/microvm.ts';
import { lives, pointsOf } from './runtime-lives.ts';

const points = pointsOf('src/runtimes/microvm/*.ts');
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

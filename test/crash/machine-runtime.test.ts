import assert from 'node:assert/strict';
import type { Recovered } from '../../src/engine/runtime.ts';
import { machineInstance } from '../../src/runtimes/machine/parts.ts';
import { machineDisk, machineFixture, tinySpec } from '../fixtures/machine.ts';
import { lives, pointsOf } from './runtime-lives.ts';

/** Those of what can be done with a machine that runs are in lives of their own. */
const points = pointsOf('src/runtimes/machine/runtime.ts');
assert.ok(points.length > 8, 'the failpoints were found');

lives({
  title: 'a daemon killed in the middle of a machine’s life',
  runtime: 'machine',
  async open() {
    const fixture = await machineFixture();
    return {
      ...fixture,
      rootfs: '',
      instance: machineInstance(fixture.options.instance),
      workload: async () => await fixture.workload(tinySpec({ disks: [machineDisk()] })),
      dispose: async () => await fixture.dispose(),
    };
  },
  points,
  creates: { within: 150, rounds: 6 },
  states,
});

/** A machine boots without a daemon: one that was started runs. */
function states(done: string[]): Recovered['state'][] {
  switch (done.at(-1)) {
    case undefined:
      return ['gone', 'created'];
    case 'create':
      return ['created', 'running'];
    case 'start':
      return ['running'];
    default:
      return ['running', 'exited', 'gone'];
  }
}

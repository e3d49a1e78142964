import assert from 'node:assert/strict';
import type { Recovered } from '../../src/engine/runtime.ts';
import { ociFixture } from '../fixtures/oci.ts';
import { lives, pointsOf } from './runtime-lives.ts';

const points = pointsOf('src/runtimes/oci/*.ts');
assert.ok(points.length > 15, 'the failpoints were found');

const ofNamespaces = points.filter((point) => /\.(staging|unstage)\./.test(point));
const creates = { within: 40, rounds: 10 };

lives({
  title: 'a daemon killed in the middle of a container’s life',
  runtime: 'oci',
  open: () => ociFixture(),
  points: points.filter((point) => !ofNamespaces.includes(point)),
  creates,
  states,
});

lives({
  title: 'the same with a user namespace',
  runtime: 'oci',
  open: () => ociFixture({}, { hostId: 1_900_000_000, size: 65_536 }),
  points: points.filter((point) => /\.(bundle|staging|unstage|monitor|delete|remove)\./.test(point)),
  creates,
  states,
});

function states(done: string[]): Recovered['state'][] {
  switch (done.at(-1)) {
    case undefined:
      return ['gone', 'created'];
    case 'create':
      return ['created', 'running'];
    case 'start':
    case 'exec':
      return ['running'];
    case 'update':
    case 'pause':
      return ['running', 'paused'];
    default:
      return ['running', 'exited', 'gone'];
  }
}

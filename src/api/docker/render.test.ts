import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ContainerState, zeroTime } from '../../engine/model.ts';
import { renderEvent } from './events.ts';
import { matchReference } from './image-filters.ts';
import { statusText } from './render-container-summary.ts';
import { renderPortList, renderPortMap } from './render-ports.ts';
import { renderStats } from './stats.ts';

const state: ContainerState = {
  phase: 'running',
  pid: 1,
  exitCode: 3,
  error: '',
  oomKilled: false,
  startedAt: '2026-01-01T00:00:00Z',
  finishedAt: '2026-01-01T00:00:00Z',
  stoppedByUser: false,
  restartCount: 0,
};

test('the status is what docker ps shows', () => {
  const after = (seconds: number, more: Partial<ContainerState> = {}) =>
    statusText({ ...state, ...more }, Date.parse(state.startedAt) + seconds * 1000);
  assert.equal(after(0), 'Up Less than a second');
  assert.equal(after(5), 'Up 5 seconds');
  assert.equal(after(90), 'Up About a minute');
  assert.equal(after(3600 * 5), 'Up 5 hours');
  assert.equal(after(86_400 * 3), 'Up 3 days');
  assert.equal(after(5, { phase: 'paused' }), 'Up 5 seconds (Paused)');
  assert.equal(after(5, { phase: 'exited' }), 'Exited (3) 5 seconds ago');
  assert.equal(after(5, { phase: 'created' }), 'Created');
  assert.equal(after(5, { phase: 'restarting' }), 'Restarting (3) 5 seconds ago');
  const health = { status: 'starting' as const, failingStreak: 0, log: [] };
  assert.equal(after(5, { health }), 'Up 5 seconds (health: starting)');
  assert.equal(after(5, { health: { ...health, status: 'unhealthy' } }), 'Up 5 seconds (unhealthy)');
});

test('a port published on every address is shown once for each family', () => {
  const published = [{ port: 80, protocol: 'tcp' as const, hostIp: '', hostPort: 8080 }];
  const exposed = [
    { port: 80, protocol: 'tcp' as const },
    { port: 90, protocol: 'udp' as const },
  ];
  assert.deepEqual(renderPortMap(exposed, published), {
    '80/tcp': [
      { HostIp: '0.0.0.0', HostPort: '8080' },
      { HostIp: '::', HostPort: '8080' },
    ],
    '90/udp': null,
  });
  assert.equal(renderPortList(exposed, published).length, 3);
});

test('the nanoseconds of an event are written to the last digit', () => {
  const text = renderEvent({
    sequence: 1,
    type: 'container',
    action: 'start',
    actor: { id: 'abc', attributes: { image: 'busybox' } },
    timeNano: '1700000000123456789',
  });
  assert.match(text, /"timeNano":1700000000123456789}\n$/);
  assert.equal((JSON.parse(text) as { from: string }).from, 'busybox');
});

test('image references match as globs that stop at slashes', () => {
  assert.equal(matchReference('busybox', 'busybox:latest'), true);
  assert.equal(matchReference('busy*', 'busybox:latest'), true);
  assert.equal(matchReference('*', 'a/b:c'), false);
  assert.equal(matchReference('*/b', 'a/b:c'), true);
  assert.equal(matchReference('localhost:5000/*:c', 'localhost:5000/b:c'), true);
  assert.equal(matchReference('busybox:1', 'busybox:latest'), false);
});

test('a stopped container has a stub for its numbers', () => {
  const stub = renderStats('id', 'name', undefined, undefined) as { read: string; memory_stats: object };
  assert.equal(stub.read, zeroTime);
  assert.deepEqual(stub.memory_stats, {});
});

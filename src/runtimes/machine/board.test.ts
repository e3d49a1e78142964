import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Qmp } from '../../host/qmp/qmp.ts';
import { boardOf } from './board.ts';

const first = {
  type: 'max-x86_64-cpu',
  props: { 'socket-id': 0 },
  'qom-path': '/machine/unattached/device[0]',
};
const second = {
  type: 'max-x86_64-cpu',
  props: { 'socket-id': 1, 'core-id': 0, 'thread-id': 0 },
  'qom-path': '/machine/peripheral/cpu1',
};

function monitor(sockets: object[]): Qmp {
  const answers: Record<string, unknown> = {
    'qom-list': [{ name: 'port0' }, { name: 'vda' }],
    'query-memory-size-summary': { 'base-memory': 1 << 28 },
    'query-memory-devices': [],
    'query-hotpluggable-cpus': sockets,
    'qom-get': '/machine/peripheral/port0/port0',
  };
  return { execute: async (command: string) => answers[command] } as unknown as Qmp;
}

test('another QEMU gets the processors that were plugged in, in their places', async () => {
  const board = await boardOf(
    monitor([first, second, { type: 'max-x86_64-cpu', props: { 'socket-id': 2 } }]),
  );
  assert.deepEqual(board, {
    ports: 1,
    places: { vda: 0 },
    vcpus: { base: 1, plugged: [{ driver: 'max-x86_64-cpu', id: 'cpu1', ...second.props }] },
    memory: { base: 1 << 28 },
  });
});

test('a QEMU that was taken over puts no other device on the command line of the next', async () => {
  const evil: object[] = [
    { ...second, type: 'vfio-pci' },
    { ...second, props: { 'socket-id': 1, host: '0000:00:02.0' } },
    { ...second, props: { 'socket-id': { a: 1 } } },
    { ...second, 'qom-path': '/machine/peripheral/cpu1,x=y' },
  ];
  for (const socket of evil) await assert.rejects(boardOf(monitor([first, socket])), { code: 'guestBroken' });
});

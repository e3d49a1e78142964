import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import type { LiveMachine } from '../live-machine.ts';
import { setVcpus } from './cpus.ts';

/** A QEMU with one of `most` processors, whose buffer of translated code is filled to `percent`. */
function machine({ percent, kvm, most = 4 }: { percent: number; kvm: boolean; most?: number }) {
  const plugged: object[] = [];
  const paths = ['/machine/unattached/device[0]'];
  const answers: Record<string, () => unknown> = {
    'query-kvm': () => ({ enabled: kvm, present: kvm }),
    'x-query-jit': () => ({
      'human-readable-text': `Translation buffer state:\ngen code size       ${percent * 2 ** 20}/${100 * 2 ** 20}\n`,
    }),
    'query-hotpluggable-cpus': () =>
      Array.from({ length: most }, (_, index) => ({
        type: 'max-x86_64-cpu',
        props: { 'socket-id': index },
        ...(paths[index] && { 'qom-path': paths[index] }),
      })),
  };
  const qmp = {
    execute: async (command: string, args: object) => {
      if (command !== 'device_add') return answers[command]?.();
      paths.push(`/machine/peripheral/cpu${paths.length}`);
      return plugged.push(args);
    },
  } as unknown as Qmp;
  let vcpus = 1;
  const live = {
    hardware: { spec: { maxVcpus: most } },
    qmp: async () => qmp,
    changeHardware: async (change: (hardware: object) => { spec: { vcpus: number } }) => {
      vcpus = change({ spec: {} }).spec.vcpus;
    },
  } as unknown as LiveMachine;
  return { live, plugged, vcpus: () => vcpus };
}

test('processors are plugged in, each in the next socket', async () => {
  const { live, plugged, vcpus } = machine({ percent: 10, kvm: false });
  await setVcpus(live, 3);
  assert.deepEqual(plugged, [
    { driver: 'max-x86_64-cpu', id: 'cpu1', 'socket-id': 1 },
    { driver: 'max-x86_64-cpu', id: 'cpu2', 'socket-id': 2 },
  ]);
  assert.equal(vcpus(), 3);
});

test('where no room for its code is left a processor is refused, and QEMU not asked', async () => {
  const { live, plugged, vcpus } = machine({ percent: 95, kvm: false });
  await assert.rejects(setVcpus(live, 2), { code: 'conflict', message: /isle vm migrate.*--config/ });
  assert.deepEqual([plugged.length, vcpus()], [0, 1]);
  const real = machine({ percent: 95, kvm: true });
  await setVcpus(real.live, 2);
  assert.equal(real.plugged.length, 1);
});

test('emulated processors do not go', async () => {
  await assert.rejects(setVcpus(machine({ percent: 0, kvm: false }).live, 5), { message: /4 are the most/ });
  const { live } = machine({ percent: 0, kvm: false });
  await setVcpus(live, 2);
  await assert.rejects(setVcpus(live, 1), { code: 'conflict', message: /without KVM/ });
});

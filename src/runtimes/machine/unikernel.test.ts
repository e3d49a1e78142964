import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MachineHardware } from '../../engine/machine.ts';
import type { WiredLink } from '../../host/guest-link.ts';
import { unikernelExitCode, unikernelHardware } from './unikernel.ts';

const link: WiredLink = {
  macAddress: '02:42:ac:11:00:02',
  name: 'eth0',
  mtu: 1500,
  addresses: ['fd00::2/64', '172.17.0.2/20'],
  routes: [
    { destination: 'default', gateway: 'fd00::1' },
    { destination: 'default', gateway: '172.17.0.1' },
  ],
  neighbours: [],
  sysctls: {},
  tap: 'tap0',
};

function filled(line: string, links: WiredLink[]): string | undefined {
  const hardware = { spec: { unikernel: true, kernel: { path: '/k', arguments: line } } } as MachineHardware;
  return unikernelHardware(hardware, { links, hostname: 'app', weak: false }).spec.kernel?.arguments;
}

test("a unikernel's arguments are filled with what its network gave it", () => {
  const line = 'netdev.ip={ip}/{prefix}:{gateway} mask={netmask} {mac} {hostname} {other} {}';
  assert.equal(
    filled(line, [link]),
    'netdev.ip=172.17.0.2/20:172.17.0.1 mask=255.255.240.0 02:42:ac:11:00:02 app {other} {}',
  );
  assert.equal(filled('ip={ip}{netmask}', []), 'ip=');
});

test('the code of a unikernel is what it wrote', () => {
  assert.deepEqual([1, 7, 255, 0, 2, undefined].map(unikernelExitCode), [
    0,
    3,
    127,
    undefined,
    undefined,
    undefined,
  ]);
});

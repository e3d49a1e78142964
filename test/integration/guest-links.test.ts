import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GuestMachine, guestProcess, guestSpec } from '../fixtures/guest-machine.ts';

const booted = '02:49:53:4c:45:00';
const card = ['-netdev', 'hubport,id=n0,hubid=0', '-device', `virtio-net-device,netdev=n0,mac=${booted}`];
const link = {
  name: 'wan7',
  mtu: 1380,
  macAddress: '02:42:c0:00:02:07',
  bootAddress: booted,
  addresses: ['192.0.2.7/24'],
  routes: [{ destination: '0.0.0.0/0', gateway: '192.0.2.1' }],
  neighbours: [],
  sysctls: { 'ipv6/conf/wan7/disable_ipv6': '1' },
};

/** What the guest's first process sees of its network. */
async function networkOf(append: string): Promise<string> {
  await using machine = await GuestMachine.boot({ args: card, append });
  const agent = await machine.connect();
  const show = guestProcess(['/bin/sh', '-c', 'ip address show wan7; ip route; ls /proc/sys/net']);
  await agent.run(guestSpec(show, { links: [link] }));
  await machine.port.exit;
  agent.close();
  return machine.port.stdout.toString();
}

test('a guest booted before it had a network gives its card the address that it then gets', async () => {
  const shown = await networkOf('');
  assert.match(shown, /wan7: .* mtu 1380[^]*02:42:c0:00:02:07[^]*inet 192\.0\.2\.7\/24/);
  assert.match(shown, /default via 192\.0\.2\.1 dev wan7/);
  assert.doesNotMatch(shown, /inet6/);
});

test('a kernel without IPv6 will do', async () => {
  const shown = await networkOf('ipv6.disable=1');
  assert.match(shown, /inet 192\.0\.2\.7\/24/);
  assert.doesNotMatch(shown, /^ipv6$/m);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FakeEngine, fakeEngine, specOf, withMachines } from '../../../test/fixtures/fake-engine.ts';
import { machineRequest } from '../../../test/fixtures/machine-request.ts';
import { isleError } from '../../lib/errors.ts';

async function machine(t: { after(fn: () => Promise<void>): void }): Promise<FakeEngine & { id: string }> {
  const fake = await fakeEngine({}, undefined, withMachines);
  t.after(() => fake.close());
  const { id } = await fake.engine.machines.create('vm', machineRequest({ nicModels: ['e1000e'] }, []));
  return Object.assign(fake, { id });
}
const cards = (fake: FakeEngine): string[] => fake.engine.machines.get('vm').spec.machine.nicModels;
const networks = (fake: FakeEngine) => fake.engine.machines.get('vm').spec.networks;
const model = (name: string) => ({ driverOptions: { 'isle.nic.model': name } });

test('a machine that runs gets a card for a network it joins, and the guest lets go of it first when it leaves', async (t) => {
  const fake = await machine(t);
  await fake.engine.containers.start(fake.id);
  fake.calls.length = 0;
  fake.world.calls.length = 0;
  await fake.engine.networks.connect('lan', 'vm', model('rtl8139'));
  assert.match(
    fake.calls[0]!,
    /^connect \w+ lan \{"driverOptions":\{\},"macAddress":"52:54:00:[0-9a-f:]{8}"\}$/,
  );
  assert.deepEqual(fake.calls.slice(1), [`serve guest ${fake.id}`]);
  assert.deepEqual(
    fake.world.calls.filter((call) => call.includes('Link')),
    [`plugLink ${fake.id}`],
  );
  assert.deepEqual(cards(fake), ['e1000e', 'rtl8139']);
  await fake.engine.networks.disconnect('lan', 'vm', false);
  assert.deepEqual(fake.calls.slice(2), [`disconnect ${fake.id} lan`, `serve guest ${fake.id}`]);
  assert.deepEqual(cards(fake), ['e1000e']);
});

test('a card that cannot be plugged leaves no network, and one that the guest keeps stays in it', async (t) => {
  const fake = await machine(t);
  await fake.engine.containers.start(fake.id);
  fake.world.fail = (operation) =>
    operation === 'plugLink' ? isleError('conflict', { message: 'full' }) : undefined;
  await assert.rejects(fake.engine.networks.connect('lan', 'vm', {}), /full/);
  assert.ok(fake.calls.includes(`disconnect ${fake.id} lan`));
  assert.deepEqual([cards(fake), Object.keys(networks(fake))], [['e1000e'], ['bridge']]);
  fake.world.fail = (operation) =>
    operation === 'unplugLink' ? isleError('conflict', { message: 'kept' }) : undefined;
  await fake.engine.networks.connect('lan', 'vm', {});
  fake.calls.length = 0;
  await assert.rejects(fake.engine.networks.disconnect('lan', 'vm', false), /kept/);
  assert.deepEqual(fake.calls, []);
  assert.deepEqual(cards(fake), ['e1000e', 'virtio']);
});

test('of a machine that does not run the networks change, and its cards with them', async (t) => {
  const fake = await machine(t);
  await fake.engine.networks.connect('lan', 'vm', model('e1000'));
  assert.deepEqual(
    fake.calls.filter((call) => call.startsWith('connect')),
    [],
  );
  assert.deepEqual(cards(fake), ['e1000e', 'e1000']);
  // What is left is the second one's.
  await fake.engine.networks.disconnect('bridge', 'vm', false);
  assert.deepEqual(cards(fake), ['e1000']);
  await fake.engine.containers.start(fake.id);
});

test('a card’s model is checked, and no container has one', async (t) => {
  const fake = await machine(t);
  for (const name of ['', 'x y', 'e1000,romfile=/etc/shadow', 'A'.repeat(50)])
    await assert.rejects(fake.engine.networks.connect('lan', 'vm', model(name)), /invalid network card/);
  const { id } = await fake.engine.containers.create('box', specOf(['true']));
  await assert.rejects(fake.engine.networks.connect('lan', id, model('e1000')), /virtual machine/);
});

test('a machine that stands still takes no card', async (t) => {
  const fake = await machine(t);
  await fake.engine.containers.start(fake.id);
  await fake.engine.containers.pause(fake.id);
  fake.calls.length = 0;
  await assert.rejects(fake.engine.networks.connect('lan', 'vm', {}), /suspended/);
  assert.deepEqual(fake.calls, []);
});

test('a machine’s cards keep their Ethernet addresses for good, and those that were asked for are taken', async (t) => {
  const fake = await machine(t);
  await fake.engine.networks.connect('lan', 'vm', { macAddress: '02:11:22:33:44:55' });
  await fake.engine.containers.start(fake.id);
  const first = networks(fake);
  assert.match(first.bridge!.macAddress!, /^52:54:00(:[0-9a-f]{2}){3}$/);
  assert.equal(first.lan!.macAddress, '02:11:22:33:44:55');
  await fake.engine.containers.stop(fake.id, {});
  await fake.engine.containers.start(fake.id);
  assert.deepEqual(networks(fake), first);
  assert.deepEqual(cards(fake), ['e1000e', 'virtio']);
  const seen = () =>
    fake.engine.machines
      .cards('vm')
      .map((card) => [card.network, card.model, card.macAddress, card.interface]);
  const { macAddress } = first.bridge!;
  assert.deepEqual(seen(), [
    ['bridge', 'e1000e', macAddress, 'eth0'],
    ['lan', 'virtio', '02:11:22:33:44:55', 'eth0'],
  ]);
  await fake.engine.containers.stop(fake.id, {});
  assert.deepEqual(seen(), [
    ['bridge', 'e1000e', macAddress, undefined],
    ['lan', 'virtio', '02:11:22:33:44:55', undefined],
  ]);
});

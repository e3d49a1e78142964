import { isIsleError, isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { Rollback } from '../../../lib/rollback.ts';
import { nicDevice } from '../command/devices.ts';
import type { LinkedMachine } from '../live-machine.ts';
import { freePort } from './root-ports.ts';
import { unplug } from './unplug.ts';

/** Milliseconds that a guest has to let go of a card: the button of a PCIe slot alone is waited for five seconds. */
const patience = 40_000;

/**
 * Plugs a network card for an interface that the machine's pod has. Plugged already is fine. Throws `conflict` where none can be
 * plugged, `invalidParameter` for a model that there is not.
 */
export async function plugLink(
  live: LinkedMachine,
  { name, model }: { name: string; model: string },
): Promise<void> {
  if (live.hardware.spec.type === 'microvm')
    throw isleError('conflict', {
      message:
        'a machine of type microvm takes no network card while it runs: stop it first, or make it a q35',
    });
  if (live.links.some((link) => link.name === name)) return;
  const qmp = await live.qmp();
  const index = freeIndex(live);
  // What a daemon left that died in the middle of it.
  await unplug(live, `net${index}`, { what: `a card of ${name}`, patience });
  await removeNetdev(live, index);
  await live.closeTap(name);
  const bus = await freePort(qmp);
  await using undo = new Rollback();
  undo.add('tap', () => live.closeTap(name));
  failpoint('machine.link.tap');
  const { tap, macAddress, mtu } = await live.openTap(name, index);
  undo.add('netdev', () => removeNetdev(live, index));
  const card = { index, macAddress, model, mtu };
  const device = nicDevice(
    card,
    { virtio: (kind) => ({ driver: `${kind}-pci`, bus }), port: () => bus },
    undefined,
  );
  await qmp.execute('device_add', device);
  undo.add('card', () => unplug(live, `net${index}`, { what: `the card of ${name}`, patience }));
  failpoint('machine.link.plugged');
  await live.changeLinks((links) => [...links, { ...card, name, tap }]);
  undo.keep();
}

/** Throws `conflict` when the guest keeps it; then all is as it was. None there is fine. */
export async function unplugLink(live: LinkedMachine, name: string): Promise<void> {
  const link = live.links.find((one) => one.name === name);
  if (link !== undefined) {
    if (live.hardware.spec.type === 'microvm')
      throw isleError('conflict', {
        message: 'a machine of type microvm gives no network card back while it runs: stop it first',
      });
    await unplug(live, `net${link.index}`, { what: `its network card (${name})`, patience });
    failpoint('machine.link.unplugged');
    await removeNetdev(live, link.index);
    await live.changeLinks((links) => links.filter((one) => one !== link));
  }
  await live.closeTap(name);
}

/**
 * Takes the cable out of all its network cards for a moment: a guest that goes on from a memory asks anew whether its addresses
 * are still its own.
 */
export async function replugCables(live: LinkedMachine): Promise<void> {
  const qmp = await live.qmp();
  const set = async (up: boolean): Promise<void> => {
    for (const { index } of live.links) await qmp.execute('set_link', { name: `net${index}`, up });
  };
  await set(false);
  await new Promise((resolve) => setTimeout(resolve, 500));
  await set(true);
}

function freeIndex({ links }: LinkedMachine): number {
  for (let index = 0; ; index++) if (!links.some((link) => link.index === index)) return index;
}

async function removeNetdev(live: LinkedMachine, index: number): Promise<void> {
  try {
    await (await live.qmp()).execute('netdev_del', { id: `tap${index}` });
  } catch (error) {
    if (!isIsleError(error, 'guestFailed') || !/not found/.test(error.message)) throw error;
  }
}

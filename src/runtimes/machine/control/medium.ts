import { setTimeout as sleep } from 'node:timers/promises';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isIsleError, isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { Rollback } from '../../../lib/rollback.ts';
import { mediumNode } from '../command/blocks.ts';
import type { LiveMachine } from '../live-machine.ts';
import { withdrawUnused } from './withdraw.ts';

/** Milliseconds that a guest which has locked its drive gets to unlock it. */
const patience = 5000;

/** Takes the medium out of a CD drive and puts in the file `path`, if any. A guest that keeps its drive locked loses the medium all the same. */
export async function changeMedium(
  live: LiveMachine,
  target: string,
  path: string | undefined,
): Promise<void> {
  const drive = live.hardware.spec.cdroms.find((one) => one.target === target);
  if (!drive) throw isleError('conflict', { message: `the machine that runs has no CD drive ${target}` });
  if (live.hardware.spec.type === 'microvm')
    throw isleError('conflict', {
      message: 'a machine of type microvm has no CD drive: stop it to change its disk',
    });
  const qmp = await live.qmp();
  await using undo = new Rollback();
  // First, so that a file that cannot be used costs the guest nothing.
  const inside = path === undefined ? undefined : await live.expose(path, { write: false });
  if (path !== undefined) undo.add('file', () => withdrawUnused(live, path));
  await openTray(qmp, target);
  failpoint('machine.medium.open');
  await takeOut(qmp, target);
  await remember(live, target, undefined);
  if (drive.path !== undefined && drive.path !== path) await withdrawUnused(live, drive.path);
  if (inside !== undefined && path !== undefined) {
    await qmp.execute('blockdev-add', mediumNode(target, inside));
    await qmp.execute('blockdev-insert-medium', { id: target, 'node-name': target });
    await remember(live, target, path);
  }
  undo.keep();
  await qmp.execute('blockdev-close-tray', { id: target });
}

function remember(live: LiveMachine, target: string, path: string | undefined): Promise<void> {
  return live.changeHardware((hardware) => ({
    ...hardware,
    spec: {
      ...hardware.spec,
      cdroms: hardware.spec.cdroms.map((one) =>
        one.target === target ? { target, ...(path !== undefined && { path }) } : one,
      ),
    },
  }));
}

async function openTray(qmp: Qmp, target: string): Promise<void> {
  await qmp.execute('blockdev-open-tray', { id: target, force: false }).catch((error: unknown) => {
    // Locked: the guest has been asked.
    if (!isIsleError(error, 'guestFailed')) throw error;
  });
  for (const late = Date.now() + patience; Date.now() < late; await sleep(100))
    if (await isOpen(qmp, target)) return;
  await qmp.execute('blockdev-open-tray', { id: target, force: true });
}

async function isOpen(qmp: Qmp, target: string): Promise<boolean> {
  const drives = await qmp.execute<{ qdev?: string; tray_open?: boolean }[]>('query-block');
  return drives.some(({ qdev, tray_open: open }) => qdev?.split('/').includes(target) && open === true);
}

async function takeOut(qmp: Qmp, target: string): Promise<void> {
  await qmp.execute('blockdev-remove-medium', { id: target });
  const nodes = await qmp.execute<{ 'node-name': string }[]>('query-named-block-nodes', { flat: true });
  if (nodes.some((node) => node['node-name'] === target))
    await qmp.execute('blockdev-del', { 'node-name': target });
}

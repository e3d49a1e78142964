import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { MachineSpec } from '../../../engine/machine.ts';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { Rollback } from '../../../lib/rollback.ts';
import type { LiveMachine } from '../live-machine.ts';
import { MigrationWatch } from './migration-watch.ts';

/** Milliseconds for QEMU to activate disks, stop and the like. */
const patience = 60_000;

export interface MigrateOptions {
  signal: AbortSignal;
  /** Bytes of memory. */
  onProgress?(done: number, total: number): void;
}

/**
 * Moves the running guest into a second QEMU on this host. The new one gets the memory while the guest runs (under KVM), then,
 * while it stands still, the devices; the disks are opened by it only when it is told to go on, after the old one has given them up.
 * So there is one moment, that command, before which the guest is the old QEMU's whatever happens, and after which it is the new one's.
 * Throws `conflict` naming the hardware that cannot be moved, before anything happens.
 */
export async function migrateMachine(
  live: LiveMachine,
  { signal, onProgress }: MigrateOptions,
): Promise<{ pausedMs: number }> {
  refuseUnmovable(live.hardware.spec);
  const source = await live.ownQmp();
  await using undo = new Rollback();
  undo.add('connection', () => source.close());
  await refuseBusy(source);
  signal.throwIfAborted();
  failpoint('machine.migrate.second.before');
  const second = await live.secondMonitor();
  const target = second.qmp;
  undo.add('second monitor', () => second.abandon());
  undo.add('its connection', () => target.close());
  failpoint('machine.migrate.second.after');
  const socket = join(live.hardware.directory, 'migrate.sock');
  undo.add('socket', () => rm(socket, { force: true }));
  undo.add('source', () => goOnHere(source));
  using watch = new MigrationWatch(source, target);
  await send(live.pathOf(socket), { source, target });
  failpoint('machine.migrate.memory');
  await watch.source('pre-switchover', { signal, onProgress });
  failpoint('machine.migrate.switchover');
  await source.execute('migrate-continue', { state: 'pre-switchover' }, { patience });
  await watch.source('completed', {});
  await watch.target('completed');
  failpoint('machine.migrate.completed');
  await target.execute('cont', undefined, { patience });
  // From here on it is there: nothing may be undone.
  undo.keep();
  failpoint('machine.migrate.moved');
  const pausedMs = await watch.pausedMs();
  try {
    await second.adopt();
  } finally {
    source.close();
    target.close();
    await rm(socket, { force: true });
  }
  failpoint('machine.migrate.adopted');
  return { pausedMs };
}

/**
 * Lets the guest go on in the QEMU that it was to be moved out of: after a failure, or the end of a daemon. The other one has
 * not been told to go on.
 */
async function goOnHere(source: Qmp): Promise<void> {
  const { status } = await source.execute<{ status?: string }>('query-migrate');
  if (status !== undefined && !['none', 'completed', 'failed', 'cancelled'].includes(status)) {
    await source.execute('migrate_cancel');
    await settled(source);
  }
  // Takes its disks back, too.
  if (!(await runs(source))) await source.execute('cont', undefined, { patience });
}

export async function runs(qmp: Qmp): Promise<boolean> {
  return (await qmp.execute<{ running: boolean }>('query-status', undefined, { patience })).running === true;
}

/** The state of these is outside of QEMU, in something that the new one would have to share with the old one. */
function refuseUnmovable({ shares, pci, usb, tpm }: MachineSpec): void {
  const why = [
    ...shares.map(({ tag }) => `its shared directory ${tag}`),
    ...pci.map((address) => `the host's PCI device ${address}`),
    ...usb.map(({ vendor, product }) => `the host's USB device ${hex(vendor)}:${hex(product)}`),
    ...(tpm ? ['its TPM'] : []),
  ];
  if (why.length > 0)
    throw isleError('conflict', {
      message: `the machine cannot be moved while it runs, because of ${why.join(', ')}: shut it down and start it again, which starts the new QEMU, too`,
    });
}

function hex(id: number): string {
  return id.toString(16).padStart(4, '0');
}

async function refuseBusy(source: Qmp): Promise<void> {
  const jobs = await source.execute<unknown[]>('query-jobs');
  if (jobs.length > 0)
    throw isleError('conflict', {
      message: 'the machine cannot be moved while a backup or snapshot of it is taken: wait for that',
    });
  if (!(await runs(source)))
    throw isleError('conflict', {
      message:
        'the guest stands still (it was stopped by an error of a disk, or crashed): it cannot be moved',
    });
}

/** Bytes a second: as fast as it goes. */
const bandwidth = 2 ** 40;

async function send(path: string, { source, target }: { source: Qmp; target: Qmp }): Promise<void> {
  const on = (...names: string[]): object => ({
    capabilities: names.map((capability) => ({ capability, state: true })),
  });
  await source.execute('migrate-set-capabilities', on('events', 'pause-before-switchover', 'auto-converge'));
  await target.execute('migrate-set-capabilities', on('events', 'late-block-activate'));
  await source.execute('migrate-set-parameters', { 'max-bandwidth': bandwidth, 'downtime-limit': 100 });
  // While it waits for a guest that means: do not go on by yourself when it has come.
  await target.execute('stop');
  // An emulated processor can write to a page in the moment in which it is taken for sent, unnoticed (seen as a panic of one guest
  // in ten under load); KVM's log misses nothing.
  if (!(await usesKvm(source))) await source.execute('stop', undefined, { patience });
  const uri = `unix:${path}`;
  await target.execute('migrate-incoming', { uri }, { patience });
  await source.execute('migrate', { uri }, { patience });
}

async function usesKvm(source: Qmp): Promise<boolean> {
  return (await source.execute<{ enabled: boolean }>('query-kvm')).enabled === true;
}

async function settled(source: Qmp): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const { status } = await source.execute<{ status?: string }>('query-migrate');
    if (status === 'cancelled' || status === 'failed' || status === 'completed' || status === 'none') return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw isleError('guestUnresponsive', { what: 'the end of a migration', waited: 30_000 });
}

/** After a daemon died in the middle, and the new QEMU with it: a guest that stands still only because it was to be moved goes on. */
export async function rescueMigration(source: Qmp): Promise<void> {
  const { status } = await source.execute<{ status: string }>('query-status');
  const migration = await source.execute<{ status?: string }>('query-migrate');
  const moving = ['pre-switchover', 'device', 'active', 'setup'].includes(migration.status ?? '');
  if (moving || status === 'postmigrate' || status === 'finish-migrate') await goOnHere(source);
}

/**
 * After a daemon died in the middle: the guest is in the new QEMU only when that has been told to go on. If not, it goes on
 * in the old one, once `abandon` has ended the new one.
 */
export async function settleMigration(
  source: Qmp,
  second: { qmp: Qmp; adopt(): Promise<void>; abandon(): Promise<void> },
): Promise<void> {
  const moved = await runs(second.qmp).catch(() => false);
  second.qmp.close();
  if (moved) return await second.adopt();
  await second.abandon();
  await goOnHere(source);
}

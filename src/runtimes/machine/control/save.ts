import { once } from 'node:events';
import { lchown, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineHardware, MachineSpec } from '../../../engine/machine.ts';
import { closeFd, O_PATH, openIn } from '../../../host/paths.ts';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import { socketPath } from '../../../host/socket-path.ts';
import { removeTree } from '../../../host/tree-async.ts';
import { isIsleError, isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { Rollback } from '../../../lib/rollback.ts';
import { setClock } from '../agent/clock.ts';
import type { LiveMachine } from '../live-machine.ts';
import { refuseImmovable } from './immovable.ts';
import { damaged, readMemory, writeMemory } from './memory-file.ts';
import { revertSnapshot } from './snapshots.ts';

/** Milliseconds for QEMU to stop, flush its disks and the like. */
const patience = 60_000;

/**
 * Writes memory and devices to `path` and ends QEMU; tells the hardware that it had. Whatever fails leaves a guest that goes on, and no file. Throws
 * `conflict` for hardware whose state is outside of the machine.
 */
export async function saveMemory(live: LiveMachine, path: string): Promise<{ hardware: MachineSpec }> {
  const hardware = live.hardware.spec;
  refuseImmovable(hardware);
  const qmp = await live.ownQmp();
  await using undo = new Rollback();
  undo.add('connection', () => qmp.close());
  undo.add('guest', () => goOn(qmp));
  failpoint('machine.save.before');
  await qmp.execute('stop', undefined, { patience });
  await sendMemory(live, qmp, path);
  failpoint('machine.save.after');
  undo.keep();
  await quit(qmp);
  qmp.close();
  return { hardware };
}

/** Lets a guest go on that stands still only because somebody meant to save it: after a failure, or the end of a daemon. */
export async function goOn(qmp: Qmp): Promise<void> {
  const { status } = await qmp.execute<{ status: string }>('query-migrate');
  if (status === 'active' || status === 'setup') {
    await qmp.execute('migrate_cancel');
    await migrated(qmp).catch(() => {});
  }
  await qmp.execute('cont', undefined, { patience });
}

/** What a QEMU that was started with `-incoming defer` (a file) or `-S` (a snapshot) goes on from, instead of booting. */
export async function continueFrom(
  live: LiveMachine,
  from: NonNullable<MachineHardware['restoreFrom']>,
): Promise<void> {
  if ('snapshot' in from) return await revertSnapshot(live, from.snapshot);
  const memory = await readMemory(from.path);
  const path = join(live.hardware.directory, 'continue.sock');
  const qmp = await live.ownQmp();
  try {
    await rm(path, { force: true });
    await qmp.execute('migrate-incoming', { uri: `unix:${live.pathOf(path)}` }, { patience });
    using found = await socketPath(path, AbortSignal.timeout(patience));
    const socket = connect({ path: found.path });
    const [outcome, sent] = await Promise.allSettled([migrated(qmp), pipeline(memory, socket)]);
    if (outcome.status === 'rejected')
      throw damaged('it is cut off, was changed, or is of other hardware', outcome.reason);
    if (sent.status === 'rejected') throw damaged('it was changed', sent.reason);
    await qmp.execute('cont', undefined, { patience });
  } catch (error) {
    // QEMU ends by itself when the stream is none.
    throw isIsleError(error, 'guestGone') ? damaged('QEMU does not understand it', error) : error;
  } finally {
    memory.destroy();
    qmp.close();
    await rm(path, { force: true });
  }
  await setClock(live);
}

async function sendMemory(live: LiveMachine, qmp: Qmp, path: string): Promise<void> {
  await using receiver = await receive(join(live.hardware.directory, 'save.sock'));
  await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 50 });
  await qmp.execute('migrate', { uri: `unix:${live.pathOf(receiver.path)}` }, { patience });
  const socket = await receiver.connection();
  const silent = isleError('guestUnresponsive', { what: 'its memory', waited: patience });
  // Who waits holds the machine: a QEMU that was taken over must not keep it for ever.
  socket.setTimeout(patience, () => socket.destroy(silent));
  const ended = migrated(qmp).catch((error: unknown) => ({ error }));
  // Says more of what went wrong, such as a full disk.
  await writeMemory(path, socket, mostBytes(live.hardware));
  const outcome = await Promise.race([ended, sleep(patience, { error: silent }, { ref: false })]);
  if (outcome === undefined) return;
  await rm(path, { force: true });
  throw outcome.error;
}

/** A migration of a guest that stands still sends each page once; the rest is devices. */
function mostBytes({ spec: { memory, maxMemory } }: MachineHardware): number {
  return 1.25 * (maxMemory ?? memory) + 2 ** 30;
}

interface Receiver extends AsyncDisposable {
  path: string;
  connection(): Promise<Socket>;
}

/** A socket for one connection of QEMU's, in a directory that it can write to. */
async function receive(path: string): Promise<Receiver> {
  await removeTree(path);
  const server = createServer();
  const connected = once(server, 'connection', { signal: AbortSignal.timeout(patience) });
  connected.catch(() => {});
  const directory = await openIn(dirname(path), '.', O_PATH);
  try {
    // Node tells of a failure by an event; a name of any length.
    server.listen(`/proc/self/fd/${directory}/${basename(path)}`);
    await once(server, 'listening');
  } finally {
    closeFd(directory);
  }
  // Not chmod: by now there may be a link in its place.
  const { uid, gid } = await stat(dirname(path));
  await lchown(path, uid, gid);
  return {
    path,
    async connection() {
      const [socket] = (await connected) as [Socket];
      server.close();
      return socket;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      await removeTree(path);
    },
  };
}

async function migrated(qmp: Qmp): Promise<undefined> {
  for (;;) {
    const found = await qmp.execute<{ status?: string; 'error-desc'?: string }>('query-migrate', undefined, {
      patience,
    });
    if (found.status === 'completed') return undefined;
    if (found.status === 'failed' || found.status === 'cancelled')
      throw isleError('guestFailed', {
        what: 'move its memory',
        detail: String(found['error-desc'] ?? found.status).slice(0, 300),
      });
    await sleep(20);
  }
}

async function quit(qmp: Qmp): Promise<void> {
  await qmp.execute('quit').catch(() => {});
  await Promise.race([qmp.closed, sleep(patience, undefined, { ref: false })]);
}

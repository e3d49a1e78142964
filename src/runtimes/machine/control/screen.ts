import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { socketPath } from '../../../host/socket-path.ts';
import { isIsleError, isleError, messageOf } from '../../../lib/errors.ts';
import type { LiveMachine } from '../live-machine.ts';
import { soundPng } from './png.ts';

/** Bytes of a screenshot; a screen of 8K that shows noise has less. */
const largestPicture = 160 << 20;
/** Milliseconds for QEMU to write it. */
const patience = 20_000;

/**
 * What the screen shows, as PNG. QEMU writes it into the machine's own directory; what stands there afterwards is as
 * hostile as the guest. Throws `conflict` without a screen, `guestBroken` for what is no sound picture.
 */
export async function takeScreenshot(machine: LiveMachine): Promise<Buffer> {
  requireScreen(machine);
  const path = join(machine.hardware.directory, `screen-${randomBytes(8).toString('hex')}.png`);
  const qmp = await machine.qmp();
  try {
    await qmp.execute('screendump', { filename: machine.pathOf(path), format: 'png' }, { patience });
    return await soundPng(await readPicture(path));
  } catch (error) {
    if (isIsleError(error)) throw error;
    throw isleError('guestBroken', { why: `the picture of its screen: ${messageOf(error)}` }, error);
  } finally {
    // A directory that was put there goes with the machine's own.
    await unlink(path).catch(() => {});
  }
}

/** No link is followed, and nothing but a plain file is read. */
async function readPicture(path: string): Promise<Buffer> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const about = await file.stat();
  if (!about.isFile()) throw new Error('it is no file');
  if (about.size > largestPicture) throw new Error(`it has ${about.size} bytes`);
  const data = Buffer.alloc(about.size);
  let have = 0;
  while (have < data.length) {
    const { bytesRead } = await file.read(data, have, data.length - have, have);
    if (bytesRead === 0) break;
    have += bytesRead;
  }
  return data.subarray(0, have);
}

/** A connection to the machine's VNC server. Throws `conflict` without a screen, `guestUnresponsive` when nobody answers. */
export async function openScreen(machine: LiveMachine): Promise<Duplex> {
  requireScreen(machine);
  const late = AbortSignal.timeout(5000);
  try {
    using found = await socketPath(await machine.screenSocket(), late);
    const socket = connect({ path: found.path, allowHalfOpen: false });
    try {
      await once(socket, 'connect', { signal: late });
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return socket;
  } catch (error) {
    if (isIsleError(error)) throw error;
    throw isleError('guestUnresponsive', { what: 'screen', waited: 5000 }, error);
  }
}

function requireScreen({ hardware }: LiveMachine): void {
  if (hardware.spec.graphics) return;
  throw isleError('conflict', {
    message:
      'the machine has no screen: its console is a serial one (isle vm console); isle vm edit --graphics vnc gives it a screen at its next start',
  });
}

import { closeSync, constants, openSync, unlinkSync, writeSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';

/**
 * Lets a container that crun created run: what `crun start` does (status.c, libcrun_status_write_exec_fifo), in
 * three system calls instead of a process. The container waits on the read end; the FIFO's absence is crun's
 * sign for "running". False when nobody waits there.
 */
export function openGate(state: string): boolean {
  const path = join(state, 'exec.fifo');
  let fd: number;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    // ENXIO: the FIFO has no reader, the process is gone.
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENXIO') return false;
    throw error;
  }
  try {
    unlinkSync(path);
    writeSync(fd, '\0');
    return true;
  } finally {
    closeSync(fd);
  }
}

/** Whether a created container still waits for its start. */
export async function waitsAtGate(state: string): Promise<boolean> {
  return await access(join(state, 'exec.fifo')).then(
    () => true,
    () => false,
  );
}

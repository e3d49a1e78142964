import { constants, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { TerminalSize } from '../../engine/runtime.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';

/** conmon refuses a side above this (ctrl.c). */
const largestSide = 1000;

/** Sets the terminal's size. conmon keeps it until the terminal exists. */
export async function resizeTerminal(directory: string, size: TerminalSize): Promise<void> {
  const sides = [size.rows, size.columns];
  if (!sides.every((side) => Number.isInteger(side) && side >= 0 && side <= 65_535))
    throw isleError('invalidParameter', { message: `invalid terminal size ${size.columns}x${size.rows}` });
  await send(directory, `1 ${sides.map((side) => Math.min(side, largestSide)).join(' ')}\n`);
}

/** Makes conmon open its log's path anew. */
export async function reopenLogFile(directory: string): Promise<void> {
  await send(directory, '2 0 0\n');
}

/** Writes one line to conmon's control FIFO; a line is shorter than PIPE_BUF, so writers cannot mix. */
async function send(directory: string, line: string): Promise<void> {
  try {
    const file = await open(join(directory, 'ctl'), constants.O_WRONLY | constants.O_NONBLOCK);
    try {
      writeSync(file.fd, line);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (['ENXIO', 'ENOENT', 'EPIPE'].includes(errnoOf(error) ?? ''))
      throw isleError('conflict', { message: 'the process has ended' }, error);
    throw error;
  }
}

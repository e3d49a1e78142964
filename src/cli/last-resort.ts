import { writeSync } from 'node:fs';
import { errnoOf, messageOf } from '../lib/errors.ts';

/** One line for what nothing caught: a person at a terminal gets no stack, and a raw terminal is set back. */
export function reportUncaught(error: unknown): never {
  // A pipe that nobody reads any more: what was asked for is done.
  if (errnoOf(error) === 'EPIPE') process.exit(0);
  try {
    writeSync(2, `isle: ${messageOf(error)} (this is a mistake of isle's; ISLE_DEBUG=1 shows where)\n`);
    if (process.env.ISLE_DEBUG && error instanceof Error) writeSync(2, `${error.stack}\n`);
  } finally {
    // exit, not exitCode: what failed may keep the process alive.
    process.exit(125);
  }
}

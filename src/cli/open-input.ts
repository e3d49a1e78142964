import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { errnoOf, messageOf } from '../lib/errors.ts';
import { Failure } from './failure.ts';

/** A file to send, refused before the request when it cannot be read. */
export async function openInput(path: string, open: (path: string) => Readable): Promise<Readable> {
  try {
    if ((await stat(path)).isDirectory()) throw new Failure(`${path} is a directory`);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT')
      throw new Failure(`open ${path}: no such file or directory`, { cause: error });
    throw new Failure(messageOf(error), { cause: error });
  }
  return open(path);
}

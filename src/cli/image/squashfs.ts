import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errnoOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';

/** Makes a squashfs image of a root's tar; none is left when that fails. */
export async function writeSquashfs(root: Readable, path: string): Promise<void> {
  const child = spawn('tar2sqfs', ['--quiet', '--force', '--compressor', 'zstd', '--', path], {
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-500)));
  const ended = once(child, 'close') as Promise<[number | null]>;
  ended.catch(() => undefined);
  const fed = pipeline(root, child.stdin).catch((error: unknown) => error);
  try {
    const [code] = await ended;
    const failed = await fed;
    if (code !== 0) throw new Failure(`tar2sqfs failed: ${words.trim() || `code ${code}`}`);
    if (failed !== undefined) throw failed;
  } catch (error) {
    root.destroy();
    await rm(path, { force: true });
    if (errnoOf(error) === 'ENOENT')
      throw new Failure('there is no tar2sqfs on this machine', {
        hint: 'install the package squashfs-tools-ng',
        cause: error,
      });
    throw error;
  }
}

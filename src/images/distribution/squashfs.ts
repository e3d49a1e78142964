import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { errnoOf, isleError } from '../../lib/errors.ts';

/** What a squashfs image begins with. */
export const squashfsMagic = Buffer.from('hsqs');

const tool = 'sqfs2tar';

/** Milliseconds without a byte after which an image that keeps its reader busy is given up. */
const patience = 120_000;

/**
 * Around the reader, which parses what strangers made: nobody's ids, no capability and no way to one, no network, no file to
 * write, a gigabyte of memory, a quarter of an hour of CPU. It opens nothing but what it is given.
 */
const confined = [
  ['unshare', '--net', '--ipc', '--uts'],
  [
    'setpriv',
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    '--no-new-privs',
    '--inh-caps=-all',
    '--bounding-set=-all',
  ],
  ['prlimit', '--as=1073741824', '--fsize=0', '--core=0', '--nofile=32', '--cpu=900'],
].flat();

/**
 * The tree of the squashfs image `path` as a plain tar, read by a confined process; its file must be readable by all, in a
 * directory that is not. The process is gone when the iteration ends. Throws `invalidArchive`, `hostTool`.
 */
export async function* squashfsTar(path: string): AsyncGenerator<Buffer> {
  await using file = await open(path, 'r');
  const [program, ...args] = [...confined, tool, '--root-becomes', '.', '/proc/self/fd/0'];
  const child = spawn(program, args, {
    stdio: [file.fd, 'pipe', 'pipe'],
    env: { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    // Its own group, so that it ends with what leads to it.
    detached: true,
  }) as ChildProcessByStdio<null, Readable, Readable>;
  const ended = endOf(child);
  ended.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  try {
    const pieces = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    for (;;) {
      timer = setTimeout(
        () =>
          child.stdout.destroy(isleError('invalidArchive', { why: 'its squashfs takes for ever to read' })),
        patience,
      );
      const next = await pieces.next();
      clearTimeout(timer);
      if (next.done) break;
      yield next.value;
    }
    await ended;
  } finally {
    clearTimeout(timer);
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    child.stdout.destroy();
  }
}

/** Resolves when all was read well. */
async function endOf(child: ChildProcessByStdio<null, Readable, Readable>): Promise<void> {
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-1000)));
  let code: number | null;
  try {
    [code] = (await once(child, 'close')) as [number | null];
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw missing('unshare', 'util-linux', error);
    throw error;
  }
  if (code === 0) return;
  const reason = words.replace(/\p{C}+/gu, ' ').trim();
  if (code === 127 || new RegExp(`failed to execute ${tool}`).test(reason))
    throw missing(tool, 'squashfs-tools-ng', undefined);
  throw isleError('invalidArchive', {
    why: `its squashfs cannot be read (${reason.slice(-300) || 'it was ended'})`,
  });
}

function missing(name: string, from: string, cause: unknown): Error {
  const message = `this host has no such program: install the package ${from}`;
  return isleError('hostTool', { tool: name, message }, cause);
}

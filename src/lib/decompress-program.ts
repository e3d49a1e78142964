import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { errnoOf } from './errors.ts';
import { TarError } from './tar/entry.ts';

/** A compression that a program of the host undoes, from standard input to standard output. */
export interface DecompressProgram {
  program: string;
  args: readonly string[];
  /** The Debian package it is in. */
  package: string;
}

/**
 * More than the strongest preset needs (xz -9e: 65 MiB; bzip2: 4 MiB), and all that a hostile file gets. With more than one
 * thread xz keeps to it by using fewer.
 */
const memoryLimit = '256MiB';

export const programs = {
  xz: {
    program: 'xz',
    args: ['--decompress', '--stdout', '--quiet', '--threads=0', `--memlimit=${memoryLimit}`],
    package: 'xz-utils',
  },
  bzip2: { program: 'bzip2', args: ['--decompress', '--stdout', '--quiet'], package: 'bzip2' },
} as const satisfies Record<string, DecompressProgram>;

/**
 * The plain bytes of `source`, undone by a program that runs beside this. Neither side gets ahead of the other. The program
 * is gone when the iteration ends, however it does. Throws {@link TarError} for damaged data and where the program is missing.
 */
export async function* undoneByProgram(
  source: AsyncIterable<Buffer>,
  { program, args, package: from }: DecompressProgram,
): AsyncGenerator<Buffer> {
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C' },
  });
  const ended = endOf(child, program, from);
  const feeding = feed(source, child.stdin);
  // Both are asked below; until then a failure must not count as nobody's.
  for (const promise of [ended, feeding]) promise.catch(() => undefined);
  const broken = feeding.then(
    () => undefined,
    (error: unknown) => void child.stdout.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    await ended;
    await broken;
    await feeding;
  } finally {
    child.kill('SIGKILL');
    child.stdin.destroy();
    child.stdout.destroy();
  }
}

/** Resolves when it ended well. */
async function endOf(child: ChildProcess, program: string, from: string): Promise<void> {
  let words = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-500)));
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    if (code === 0) return;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    const message = `it is compressed with ${program}, and this host has no such program: install the package ${from}`;
    throw new TarError(message, { cause: error });
  }
  const reason = words
    .replace(/^.*?\(stdin\): /s, '')
    .replace(/\s+/g, ' ')
    .trim();
  throw new TarError(`its compressed data is damaged (${program}: ${reason || 'cut short'})`);
}

/** A program that ended does not read on: what that means, its exit code says. */
async function feed(source: AsyncIterable<Buffer>, into: Writable): Promise<void> {
  let gone = false;
  into.on('error', () => (gone = true)).on('close', () => (gone = true));
  for await (const piece of source) {
    if (gone) return;
    if (!into.write(piece)) await drained(into);
  }
  into.end();
}

function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done).off('error', done);
      resolve();
    };
    stream.on('drain', done).on('close', done).on('error', done);
  });
}

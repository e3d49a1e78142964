import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Context } from './context.ts';
import { Failure } from './failure.ts';
import { withSpinner } from './terminal/spinner.ts';

/**
 * Writes a stream of the engine's to a file (under a temporary name until it is whole) or to stdout, never to a
 * terminal.
 */
export async function saveStream(
  { out, err }: Context,
  path: string | undefined,
  open: (signal: AbortSignal) => Promise<Readable>,
): Promise<void> {
  if (path === undefined && out.isTerminal)
    throw new Failure('cowardly refusing to save to a terminal', { hint: 'use -o FILE, or pipe it on' });
  const abort = new AbortController();
  const interrupt = () => abort.abort();
  process.once('SIGINT', interrupt);
  try {
    const source = await open(abort.signal);
    if (path === undefined) {
      await pipeline(source, out.stream, { end: false });
      return;
    }
    const temporary = `${path}.${process.pid}.tmp`;
    try {
      await withSpinner(
        err,
        `writing ${path}`,
        pipeline(source, createWriteStream(temporary, { mode: 0o600 })),
      );
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    throw new Failure('cancelled; nothing was written', { exitCode: 130 });
  } finally {
    process.off('SIGINT', interrupt);
  }
}

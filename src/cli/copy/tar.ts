import { type ChildProcess, spawn } from 'node:child_process';
import { Transform } from 'node:stream';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';

/**
 * The host's GNU tar does the packing here: it keeps sparse files, hard links and attributes, and unpacks
 * hostile archives safely (members with `..` are refused, links out of the directory only made at the end).
 */
export function startTar(
  args: readonly string[],
  stdio: ['ignore' | 'pipe', 'ignore' | 'pipe', 'pipe'],
): {
  child: ChildProcess;
  /** Resolves when it ended well. */
  done: Promise<void>;
} {
  const child = spawn('tar', args, { stdio, env: { ...process.env, LC_ALL: 'C', TAR_OPTIONS: '' } });
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    if (complaint.length < 4096) complaint += chunk.toString();
  });
  const done = new Promise<void>((resolve, reject) => {
    child.on('error', (cause) => {
      if (errnoOf(cause) === 'ENOENT')
        reject(new Failure('tar is not installed here', { hint: 'apt-get install tar', cause }));
      else reject(new Failure(messageOf(cause), { cause }));
    });
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Failure(firstLine(complaint) || `tar failed with ${code}`));
    });
  });
  done.catch(() => {});
  return { child, done };
}

function firstLine(text: string): string {
  return (text.split('\n').find((line) => line !== '') ?? '').replace(/^tar: /, '');
}

/** A `--transform` that gives the first component of every name (links within the archive too) a new one. */
export function renameFirst(to: string): string {
  if (to.includes('\u0001') || to.includes('\n'))
    throw new Failure('names with control characters cannot be copied');
  const replacement = to.replaceAll(/[\\&]/g, '\\$&');
  return `--transform=flags=rSh;s\u0001^[^/]*\u0001${replacement}\u0001`;
}

/** Counts what passes. */
export class Counter extends Transform {
  bytes = 0;

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, chunk: Buffer) => void): void {
    this.bytes += chunk.length;
    done(null, chunk);
  }
}

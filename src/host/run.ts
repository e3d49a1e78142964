import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { isleError } from '../lib/errors.ts';

export interface RunOptions {
  input?: string | Uint8Array;
  /** Milliseconds until it is killed. Default 30,000. */
  timeout?: number;
  signal?: AbortSignal;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** Bytes kept of each stream; a tool that writes more is killed. Default 4 MiB. */
  maxOutput?: number;
}

export interface RunResult {
  stdout: string;
  stderr: string;
  /** Exit code; 128 + signal when a signal ended it. */
  code: number;
}

/**
 * Runs a host tool to its end, without a shell. A code other than 0 is a result, not an error.
 * Throws `hostTool` when it cannot be started, takes too long or writes too much, and the signal's reason when aborted.
 */
export function run(tool: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { timeout = 30_000, maxOutput = 4 * 1024 * 1024, signal } = options;
  const { promise, resolve, reject } = Promise.withResolvers<RunResult>();
  if (signal?.aborted) {
    reject(signal.reason);
    return promise;
  }
  const child = spawn(tool, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: options.env ?? process.env,
    cwd: options.cwd,
  });
  // The first failure wins; the child is gone when the promise settles.
  let failure: { error: unknown } | undefined;
  const fail = (error: unknown) => {
    failure ??= { error };
    child.kill('SIGKILL');
  };
  const timer = setTimeout(() => fail(toolError(tool, `no end after ${timeout} ms`)), timeout);
  const onAbort = () => fail(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const tooMuch = () => fail(toolError(tool, `more than ${maxOutput} bytes of output`));
  const stdout = collect(child.stdout, maxOutput, tooMuch);
  const stderr = collect(child.stderr, maxOutput, tooMuch);
  // A tool may end without reading its input: its exit code says what that means.
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);
  let lingering: NodeJS.Timeout | undefined;
  const settle = () => {
    clearTimeout(timer);
    clearTimeout(lingering);
    signal?.removeEventListener('abort', onAbort);
  };
  child.once('error', (error) => {
    settle();
    reject(failure?.error ?? toolError(tool, error.message, error));
  });
  // A tool that leaves a daemon behind may have given it our pipes: what it wrote itself has come by then.
  child.once('exit', () => {
    lingering = setTimeout(() => {
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, GRACE);
  });
  child.once('close', (code, by) => {
    settle();
    if (failure) reject(failure.error);
    else resolve({ stdout: stdout(), stderr: stderr(), code: code ?? 128 + signalNumber(by) });
  });
  return promise;
}

/** {@link run}, but a code other than 0 is a `hostTool` error that carries the tool's last words. */
export async function runOk(
  tool: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await run(tool, args, options);
  if (result.code !== 0) throw toolError(tool, lastWords(result));
  return result;
}

/** Milliseconds between a tool's exit and the end of its output. */
const GRACE = 500;

function toolError(tool: string, message: string, cause?: unknown): Error {
  return isleError('hostTool', { tool, message }, cause);
}

function lastWords(result: RunResult): string {
  const text = (result.stderr.trim() || result.stdout.trim()).slice(-2000);
  return text ? `${text} (exit code ${result.code})` : `exit code ${result.code}`;
}

/** The stream is missing when there was no descriptor left to start the tool with. */
function collect(stream: Readable | null | undefined, limit: number, onTooMuch: () => void): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream?.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > limit) onTooMuch();
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString();
}

function signalNumber(name: NodeJS.Signals | null): number {
  return name === null ? 0 : (constants.signals[name] ?? 0);
}

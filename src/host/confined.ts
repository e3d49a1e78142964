import { setTimeout as sleep } from 'node:timers/promises';
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { isleError } from '../lib/errors.ts';
import { programPath } from './installation.ts';
import type { RunResult } from './run.ts';
import { type SpawnedProgram, spawnProgram } from './spawn.ts';

/** A file or directory of the host that the tool may see, and no other. */
export interface ConfinedFile {
  path: string;
  /** Absolute: under which name the tool sees it. */
  inside: string;
  write?: boolean;
}

export interface ConfinedOptions {
  files: readonly ConfinedFile[];
  /** Bytes of address space. Default 2 GiB. */
  memory?: number;
  /** Bytes that a file may become. Default 0: no file grows. */
  fileSize?: number;
  /** Seconds of CPU. Default 60. */
  cpu?: number;
  /** Milliseconds without any output after which it is killed. Default 60,000. */
  patience?: number;
  /** Bytes of each stream; a tool that writes more is killed. Default 4 MiB. */
  maxOutput?: number;
  /** What it writes on standard output, as it comes; it is not kept then. */
  onOutput?(text: string): void;
  signal?: AbortSignal;
}

/**
 * Runs a tool on files that strangers made: as nobody, in empty namespaces without a network, with nothing to see but the
 * host's programs and `files`, without capabilities, in bounds (native/confine). Takes about 10 ms beyond the tool itself. The
 * tool ends with this process. A code other than 0 is a result, not an error. Throws `hostTool` when it cannot be started or
 * exceeds its patience or output, and the signal's reason when aborted.
 */
export async function runConfined(
  tool: string,
  args: readonly string[],
  options: ConfinedOptions,
): Promise<RunResult> {
  const { patience = 60_000, maxOutput = 4 * 1024 * 1024, signal } = options;
  signal?.throwIfAborted();
  const program = await spawnTool(tool, args, options, 'null');
  let failure: { error: unknown } | undefined;
  const fail = (error: unknown) => {
    failure ??= { error };
    program.kill();
  };
  const onAbort = () => fail(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  // While it was being started nobody listened.
  if (signal?.aborted) onAbort();
  const timer = setTimeout(() => fail(broken(tool, `it said nothing for ${patience / 1000} s`)), patience);
  const collect = (number: number, onText?: (text: string) => void) =>
    textOf(program.pipes.get(number) as Readable, (text, size) => {
      timer.refresh();
      onText?.(text);
      if (size > maxOutput && !onText) fail(broken(tool, `it wrote more than ${maxOutput} bytes`));
      return !onText && size <= maxOutput;
    });
  try {
    const streams = Promise.all([collect(1, options.onOutput), collect(2), collect(3)]);
    await program.ended;
    // What it has written is there by now; a pipe that stays open all the same is not waited for.
    const [stdout, stderr, code] = await Promise.race([streams, sleep(GRACE, ['', '', ''])]);
    if (failure) throw failure.error;
    return explain(tool, { stdout, stderr, code: Number.parseInt(code || '137', 10) });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    for (const pipe of program.pipes.values()) pipe.destroy();
  }
}

export interface ConfinedTool {
  stdin: Writable;
  stdout: Readable;
  /** Its exit code and what it said on standard error (as `maxOutput` says). */
  ended: Promise<{ code: number; stderr: string }>;
  kill(): void;
}

/** Like {@link runConfined}, for a tool that is talked to. Its bounds in time are the caller's. */
export async function startConfined(
  tool: string,
  args: readonly string[],
  options: Omit<ConfinedOptions, 'patience' | 'onOutput' | 'signal'>,
): Promise<ConfinedTool> {
  const { maxOutput = 65_536 } = options;
  const program = await spawnTool(tool, args, options, 'in');
  const pipe = (number: number): Socket => program.pipes.get(number)!;
  const collect = (number: number): Promise<string> => textOf(pipe(number), (_, size) => size <= maxOutput);
  const said = Promise.all([collect(2), collect(3)]);
  const ended = program.ended.then(async () => {
    const [stderr, code] = await Promise.race([said, sleep(GRACE, ['', ''])]);
    for (const one of program.pipes.values()) one.destroy();
    return explain(tool, { stdout: '', stderr, code: Number.parseInt(code || '137', 10) });
  });
  ended.catch(() => undefined); // Whoever waits for it is told.
  return { stdin: pipe(0), stdout: pipe(1), ended, kill: () => program.kill() };
}

function spawnTool(
  tool: string,
  args: readonly string[],
  options: ConfinedOptions,
  input: 'null' | 'in',
): Promise<SpawnedProgram> {
  return spawnProgram(programPath('isle-confine'), commandLine(tool, args, options), {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    cwd: '/',
    descriptors: [input, 'out', 'out', 'out'],
  });
}

/** Milliseconds. */
const GRACE = 2000;

function commandLine(tool: string, args: readonly string[], options: ConfinedOptions): string[] {
  const shown = options.files.flatMap(({ path, inside, write }) => [write ? '--rw' : '--ro', path, inside]);
  const limits = [
    '--memory',
    `${options.memory ?? 2 * 1024 ** 3}`,
    '--file-size',
    `${options.fileSize ?? 0}`,
    '--cpu',
    `${options.cpu ?? 60}`,
  ];
  return [...shown, ...limits, '--', tool, ...args];
}

async function textOf(stream: Readable, keep: (text: string, size: number) => boolean): Promise<string> {
  let all = '';
  let size = 0;
  stream.setEncoding('utf8');
  try {
    for await (const text of stream as AsyncIterable<string>) {
      size += text.length;
      if (keep(text, size)) all += text;
    }
  } catch {
    // Its end was cut: the exit code tells.
  }
  return all;
}

function explain(tool: string, result: RunResult): RunResult {
  if (result.code === 127) throw broken(tool, 'this host has no such program');
  if (result.code === 125 && result.stderr.startsWith('isle-confine: '))
    throw broken(tool, result.stderr.trim());
  return result;
}

function broken(tool: string, message: string): Error {
  return isleError('hostTool', { tool, message });
}

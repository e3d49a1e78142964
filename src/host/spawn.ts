import { Socket } from 'node:net';
import { constants } from 'node:os';
import { nativeCalls } from './native.ts';
import { pidfdSignal, watchPid } from './pidfd.ts';
import { startTimeOf } from './process.ts';

/**
 * What a descriptor of the program is: nothing (/dev/null), a pipe it writes to (`out`) or reads from (`in`), or a
 * descriptor of ours.
 */
export type ChildDescriptor = 'null' | 'out' | 'in' | number;

export interface SpawnOptions {
  env: Record<string, string>;
  cwd: string;
  /** By the program's own numbers, from 0; it gets no others. At most 16. */
  descriptors: ChildDescriptor[];
}

export interface SpawnedProgram {
  pid: number;
  /** Our ends of the pipes, by the program's numbers. */
  pipes: Map<number, Socket>;
  /** Resolves when it has ended. Does not keep this process alive. */
  ended: Promise<void>;
  /** SIGKILL, while it runs. */
  kill(): void;
}

interface Calls {
  spawnProgram(
    path: string,
    args: Uint8Array,
    env: Uint8Array,
    cwd: string,
    descriptors: Uint8Array,
  ): Promise<number>;
  reapSync(pid: number): number;
  pipeSync(): Buffer;
  closeFdSync(fd: number): void;
}

const calls = nativeCalls<Calls>()('spawnProgram', 'reapSync', 'pipeSync', 'closeFdSync');

/**
 * Starts `path` (absolute) on libuv's thread pool, sharing memory until it executes. node:child_process copies this
 * process's page tables on the main thread for that, which takes milliseconds and grows with the daemon.
 * Throws the system error when it cannot be executed.
 */
export async function spawnProgram(
  path: string,
  args: readonly string[],
  options: SpawnOptions,
): Promise<SpawnedProgram> {
  const ours = new Map<number, number>();
  const theirs: number[] = [];
  try {
    const placed = options.descriptors.map((wanted, number) => {
      if (wanted === 'null') return -1;
      if (typeof wanted === 'number') return wanted;
      const ends = calls.pipeSync();
      const [read, write] = [ends.readInt32LE(0), ends.readInt32LE(4)];
      ours.set(number, wanted === 'out' ? read : write);
      theirs.push(wanted === 'out' ? write : read);
      return theirs.at(-1) as number;
    });
    const env = Object.entries(options.env).map(([name, value]) => `${name}=${value}`);
    const numbers = new Uint8Array(Int32Array.from(placed).buffer);
    const pid = await calls.spawnProgram(path, list([path, ...args]), list(env), options.cwd, numbers);
    const pipes = new Map(
      [...ours].map(([number, fd]) => {
        const out = options.descriptors[number] === 'out';
        return [number, new Socket({ fd, readable: out, writable: !out })];
      }),
    );
    ours.clear();
    return startedProgram(pid, pipes);
  } finally {
    for (const fd of [...ours.values(), ...theirs]) calls.closeFdSync(fd);
  }
}

function list(strings: string[]): Uint8Array {
  return Buffer.from(strings.map((text) => `${text}\0`).join(''));
}

function startedProgram(pid: number, pipes: Map<number, Socket>): SpawnedProgram {
  const startTime = startTimeOf(pid);
  // A child stays a zombie, and its pid its own, until it is reaped: the start time is always there.
  if (startTime === undefined) throw new Error(`process ${pid} is not in /proc`);
  const ended = watchPid(pid, startTime, { ref: false }).then(() => void calls.reapSync(pid));
  ended.catch(() => {}); // Whoever waits for it is told.
  return { pid, pipes, ended, kill: () => void pidfdSignal(pid, startTime, constants.signals.SIGKILL) };
}

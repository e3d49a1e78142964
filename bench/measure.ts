/** Timing and memory, as the tables need them. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Milliseconds from spawning `command` to its exit; throws with its output when it fails. */
export async function timeCommand(command: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const started = performance.now();
  await output(command, env);
  return performance.now() - started;
}

/** What `command` prints; throws with it when it fails. */
export function output(command: string[], env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0]!, command.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (output += data.toString()));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(output.trim());
      else reject(new Error(`${command.join(' ')} exited ${code}: ${output.slice(-500)}`));
    });
  });
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Resident bytes of processes: plain, and with shared pages counted once (proportional set size). */
export function memory(pids: number[]): { rss: number; pss: number } {
  let rss = 0;
  let pss = 0;
  for (const pid of pids) {
    try {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      rss += field(text, 'Rss');
      pss += field(text, 'Pss');
    } catch {
      // It ended while we looked.
    }
  }
  return { rss, pss };
}

const guestFile = /memory-backend/;

/** Proportional set size in bytes: a guest's memory (a file's, or the one mapping of just `memory` bytes), and everything else. */
export function guestMemoryPss(pid: number, memory?: number): { guest: number; others: number } {
  const sums = { guest: 0, others: 0 };
  let kind: keyof typeof sums = 'others';
  for (const line of smaps(pid)) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line) ?? [];
    if (from !== undefined && to !== undefined) {
      const size = Number.parseInt(to, 16) - Number.parseInt(from, 16);
      kind = guestFile.test(line) || size === memory ? 'guest' : 'others';
    } else if (line.startsWith('Pss:')) sums[kind] += Number(line.match(/\d+/)?.[0]) * 1024;
  }
  return sums;
}

function smaps(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n');
  } catch {
    return []; // It ended while we looked.
  }
}

function field(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
}

/** Runs `jobs` with `width` at a time; milliseconds for all. */
export async function timeParallel(jobs: (() => Promise<unknown>)[], width: number): Promise<number> {
  const started = performance.now();
  const queue = [...jobs];
  const worker = async (): Promise<void> => {
    for (let job = queue.shift(); job; job = queue.shift()) await job();
  };
  await Promise.all(Array.from({ length: width }, worker));
  return performance.now() - started;
}

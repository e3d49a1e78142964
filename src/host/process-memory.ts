import { open, readFile } from 'node:fs/promises';
import { errnoOf } from '../lib/errors.ts';

/** What a process takes, as the kernel accounts for it (Documentation/filesystems/proc.rst, smaps). Sizes are bytes. */
export interface ProcessMemory {
  pid: number;
  parent: number;
  /** Its name in the kernel: at most 15 characters, chosen by the program. */
  command: string;
  /** The user that it is on the host. */
  uid: number;
  /** Resident memory; of a page that n processes share, a n-th. */
  proportional: number;
  /** What only it has, and would go with it. */
  private: number;
  swapped: number;
  /** The part of `proportional` that is memory shared for writing: a guest's RAM in a virtual machine monitor. */
  sharedMappings: number;
}

/**
 * Undefined when the process has ended. Only with `mappings` are its mappings looked at one by one (`sharedMappings` is 0
 * otherwise): a workload may make so many of them that their list is larger than the engine.
 */
export async function memoryOfProcess(
  pid: number,
  options: { mappings: boolean },
): Promise<ProcessMemory | undefined> {
  try {
    const [status, maps] = await Promise.all([
      readFile(`/proc/${pid}/status`, 'latin1'),
      options.mappings
        ? readBeginning(`/proc/${pid}/smaps`)
        : readFile(`/proc/${pid}/smaps_rollup`, 'latin1'),
    ]);
    return { pid, ...parseStatus(status), ...sumMappings(maps) };
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

/** Bytes: some thousand mappings, where a virtual machine monitor has some hundred. */
const longest = 4 * 1024 * 1024;

async function readBeginning(path: string): Promise<string> {
  await using file = await open(path);
  const chunks: Buffer[] = [];
  for (let length = 0; length < longest; ) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(64 * 1024));
    if (bytesRead === 0) break;
    length += bytesRead;
    chunks.push(buffer.subarray(0, bytesRead));
  }
  return Buffer.concat(chunks).toString('latin1');
}

/** The parent of a process; undefined when it has ended. */
export async function parentOfProcess(pid: number): Promise<number | undefined> {
  try {
    return parseStatus(await readFile(`/proc/${pid}/status`, 'latin1')).parent;
  } catch {
    return undefined;
  }
}

export function parseStatus(text: string): Pick<ProcessMemory, 'parent' | 'command' | 'uid'> {
  const value = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '';
  return {
    command: value('Name'),
    parent: Number(value('PPid')),
    // Real, effective, saved, file system.
    uid: Number(value('Uid').split(/\s+/)[1]),
  };
}

type Sums = Pick<ProcessMemory, 'proportional' | 'private' | 'swapped' | 'sharedMappings'>;

/** Adds up the mappings of smaps: a line `from-to rwxp offset device inode path`, then `Name: N kB` lines. */
export function sumMappings(text: string): Sums {
  const sums: Sums = { proportional: 0, private: 0, swapped: 0, sharedMappings: 0 };
  let shared = false;
  for (const line of text.split('\n')) {
    const mapping = /^[0-9a-f]+-[0-9a-f]+ (\S{4}) \S+ \S+ \d+\s*(.*)$/.exec(line);
    if (mapping) {
      shared = /^.w.s/.test(mapping[1] ?? '') || (mapping[2] ?? '').startsWith('/memfd:');
      continue;
    }
    const field = /^(\w+):\s+(\d+) kB$/.exec(line);
    if (!field) continue;
    const bytes = Number(field[2]) * 1024;
    if (field[1] === 'Pss') {
      sums.proportional += bytes;
      if (shared) sums.sharedMappings += bytes;
    } else if (field[1] === 'Private_Clean' || field[1] === 'Private_Dirty') sums.private += bytes;
    else if (field[1] === 'SwapPss') sums.swapped += bytes;
  }
  return sums;
}

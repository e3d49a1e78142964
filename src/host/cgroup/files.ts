import { readFile, writeFile } from 'node:fs/promises';
import type { BlkioEntry } from '../../engine/runtime.ts';
import { errnoOf } from '../../lib/errors.ts';

/** A control file's text; undefined when it, its group or its controller is missing. */
export async function readControl(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'latin1');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Writes to a control file that must exist. */
export async function writeControl(path: string, value: string | number): Promise<void> {
  await writeFile(path, String(value), { flag: 'r+' });
}

/** True for the errors of files in groups that are gone (ENODEV: removed while open). */
export function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENODEV', 'ENOTDIR'].includes(errnoOf(error) ?? '');
}

/** One number. `max` is Infinity; anything else that is no number, and a missing file, is undefined. */
export function parseNumber(text: string | undefined): number | undefined {
  const value = text?.trim();
  if (value === 'max') return Number.POSITIVE_INFINITY;
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : undefined;
}

/** Lines of `key number`. */
export function parseKeyed(text: string | undefined): Record<string, number> {
  const values: Record<string, number> = {};
  for (const line of (text ?? '').split('\n')) {
    const match = /^(\S+) (\d+)$/.exec(line);
    if (match?.[1] !== undefined) values[match[1]] = Number(match[2]);
  }
  return values;
}

/** cgroup v1's blkio files: lines of `major:minor Operation value`. */
export function parseBlkioV1(text: string | undefined): BlkioEntry[] {
  const entries: BlkioEntry[] = [];
  for (const line of (text ?? '').split('\n')) {
    const match = /^(\d+):(\d+) (\w+) (\d+)$/.exec(line);
    if (match?.[3] === undefined) continue;
    entries.push({
      major: Number(match[1]),
      minor: Number(match[2]),
      op: match[3].toLowerCase(),
      value: Number(match[4]),
    });
  }
  return entries;
}

/** cgroup v2's io.stat: lines of `major:minor rbytes=1 wbytes=2 rios=3 …`. */
export function parseIoStat(text: string | undefined, fields: Record<string, string>): BlkioEntry[] {
  const entries: BlkioEntry[] = [];
  for (const line of (text ?? '').split('\n')) {
    const match = /^(\d+):(\d+) (.*)$/.exec(line);
    if (match?.[3] === undefined) continue;
    for (const pair of match[3].split(' ')) {
      const [key = '', value] = pair.split('=');
      const op = fields[key];
      if (op === undefined) continue;
      entries.push({ major: Number(match[1]), minor: Number(match[2]), op, value: Number(value) });
    }
  }
  return entries;
}

/** Bytes of memory the host has: what an unlimited group may use. */
export async function hostMemory(): Promise<number> {
  const match = /^MemTotal:\s+(\d+) kB/m.exec(await readFile('/proc/meminfo', 'latin1'));
  return Number(match?.[1] ?? 0) * 1024;
}

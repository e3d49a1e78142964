import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { errnoOf, isleError } from '../lib/errors.ts';
import { usualIds } from '../lib/userns.ts';
import type { IdMap, TakenIds } from './runtime.ts';

/** Ids of the host, both ends included. */
export interface IdArea {
  first: number;
  last: number;
}

/**
 * Above what systemd-nspawn takes (524288–1879048191), below what systemd keeps for foreign images
 * (2147352576–2147418111, https://systemd.io/UIDS-GIDS): 4,094 blocks.
 */
export const defaultArea: IdArea = { first: 1_879_048_192, last: 2_147_352_575 };

/** Ranges begin at multiples of this. */
const blockSize = usualIds;

export interface IdMapsOptions {
  area: IdArea;
  /** Tells engines on one host apart: each begins at another place of the area. */
  seed: string;
  /** Maps that containers have. */
  used(): Iterable<IdMap>;
  /** What the host has given to users: for tests. */
  taken?(): Promise<IdArea[]>;
}

/**
 * Ranges of user and group ids for user namespaces: each container has its own, so that root of one is nobody to another
 * and to the host. Which are free is derived from the containers' records.
 */
export class IdMaps {
  #options: IdMapsOptions;
  #blocks: number;
  #start: number;
  #reserved = new Set<IdMap>();

  constructor(options: IdMapsOptions) {
    const { area, seed } = options;
    this.#options = options;
    this.#blocks = Math.max(0, Math.floor((area.last - area.first + 1) / blockSize));
    const hash = createHash('sha256').update(seed).digest().readUInt32LE(0);
    this.#start = this.#blocks === 0 ? 0 : hash % this.#blocks;
  }

  /** Throws `conflict` when no room is left, `invalidParameter` for a size that no range can have. */
  async take(size: number): Promise<TakenIds> {
    if (!Number.isInteger(size) || size < smallest || size > largest)
      throw isleError('invalidParameter', {
        message: `a user namespace can have ${smallest} to ${largest} ids, not ${size}`,
      });
    const foreign = await (this.#options.taken ?? hostIds)();
    const map = { hostId: this.#find(size, foreign), size };
    this.#reserved.add(map);
    return { map, [Symbol.dispose]: () => this.#reserved.delete(map) };
  }

  #find(size: number, foreign: IdArea[]): number {
    const { area, used } = this.#options;
    const wanted = Math.ceil(size / blockSize);
    const busy = new Set<number>();
    const mark = ({ first, last }: IdArea): void => {
      const from = Math.max(0, Math.floor((first - area.first) / blockSize));
      const to = Math.min(this.#blocks - 1, Math.floor((last - area.first) / blockSize));
      for (let block = from; block <= to; block++) busy.add(block);
    };
    for (const { hostId, size: ids } of [...used(), ...this.#reserved])
      mark({ first: hostId, last: hostId + ids - 1 });
    foreign.forEach(mark);
    for (let tried = 0; tried < this.#blocks; tried++) {
      const block = (this.#start + tried) % this.#blocks;
      const fits = block + wanted <= this.#blocks;
      if (fits && Array.from({ length: wanted }, (_, i) => block + i).every((each) => !busy.has(each)))
        return area.first + block * blockSize;
    }
    throw isleError('conflict', {
      message: `no ${size} ids are left for another user namespace: all ${this.#blocks} blocks of ${blockSize} ids from ${area.first} to ${area.last} are in use; remove containers, or give the engine a larger area (containers.usernsIds)`,
    });
  }
}

/** The groups that every distribution has (tty is 5), with room. */
const smallest = 256;

/** Ids of sixteen blocks: more than that nobody can want, and the area would be gone soon. */
const largest = 16 * blockSize;

/** What the host's files give to others: subordinate ids, and users and groups that happen to lie in between. */
async function hostIds(): Promise<IdArea[]> {
  const [subUsers, subGroups, users, groups] = await Promise.all(
    ['/etc/subuid', '/etc/subgid', '/etc/passwd', '/etc/group'].map(lines),
  );
  const ranges = [...subUsers!, ...subGroups!].map(([, first, count]) => ({
    first: Number(first),
    last: Number(first) + Number(count) - 1,
  }));
  const singles = [...users!, ...groups!].map(([, , id]) => ({ first: Number(id), last: Number(id) }));
  return [...ranges, ...singles].filter(({ first, last }) => first >= 0 && last >= first);
}

async function lines(path: string): Promise<string[][]> {
  try {
    return (await readFile(path, 'utf8')).split('\n').map((line) => line.split(':'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

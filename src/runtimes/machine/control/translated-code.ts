import { regionsPerVcpu } from '../command/type.ts';

/**
 * Whether one more processor finds a region of TCG's buffer to translate into; `state` is what QEMU says of it. Processors take regions
 * as they fill them and give none back before all are full, so those in use follow from the size. One that starts when none
 * is left aborts QEMU (7.2: `tcg_region_initial_alloc__locked`). One more than it needs must be free: the others go on meanwhile.
 */
export function hasRegionsFor(state: string, { there, most }: { there: number; most: number }): boolean {
  const [, size, room] = /^gen code size\s+(\d+)\/(\d+)\s*$/m.exec(state) ?? [];
  if (size === undefined || !(Number(room) > 0)) return false;
  const regions = regionsPerVcpu * most;
  // Each processor has one that is partly full; the end of those that are full is not counted.
  const full = Math.ceil((Number(size) / Number(room)) * regions * 1.02);
  return full + there + 2 <= regions;
}

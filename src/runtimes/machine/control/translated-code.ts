import { regionSize, regionsPerVcpu } from '../translated.ts';

/**
 * Whether one more processor finds a region of TCG's buffer to translate into; `state` is what QEMU says of it. Processors take regions
 * as they fill them and give none back before all are full, so those in use follow from the size. One that starts when none
 * is left aborts QEMU (7.2: `tcg_region_initial_alloc__locked`). More than it needs must be free: the others go on meanwhile.
 */
export function hasRegionsFor(state: string, { there, most }: { there: number; most: number }): boolean {
  const [, size, room] = /^gen code size\s+(\d+)\/(\d+)\s*$/m.exec(state) ?? [];
  if (size === undefined || !(Number(room) > 0)) return false;
  // Of what QEMU really has, whatever it was started with.
  const regions = Math.min(regionsPerVcpu * most, Math.max(most, Math.floor(Number(room) / regionSize)));
  const full = Math.ceil((Number(size) / Number(room)) * regions * 1.02);
  // Each processor has one that is partly full.
  return full + there + 2 + Math.ceil(there / 8) <= regions;
}

/** Repeated measurements of one thing. */
export interface Summary {
  /** `ms`, `B`, `B/s`, `1/s` or `ns`. */
  unit: Unit;
  median: number;
  /** The least and the greatest. */
  low: number;
  high: number;
  samples: number[];
}

export type Unit = 'ms' | 'B' | 'B/s' | '1/s' | 'ns';

/** Undefined when nothing was measured. */
export function summarize(unit: Unit, samples: readonly number[]): Summary | undefined {
  if (samples.length === 0) return undefined;
  const sorted = samples.map(rounded).toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return {
    unit,
    median: rounded(median),
    low: sorted[0]!,
    high: sorted.at(-1)!,
    samples: samples.map(rounded),
  };
}

/** Six digits are more than any of these measurements is worth. */
function rounded(value: number): number {
  return Number(value.toPrecision(6));
}

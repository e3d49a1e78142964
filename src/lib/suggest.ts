/** ` (did you mean "x"?)` for the nearest of `known`, or '' when none is near enough to be a slip of the finger. */
export function nearest(wrong: string, known: readonly string[]): string {
  let best: string | undefined;
  let distance = Math.max(2, Math.floor(wrong.length / 3)) + 1;
  for (const candidate of known) {
    const found = editDistance(wrong.toLowerCase(), candidate.toLowerCase());
    if (found < distance) [best, distance] = [candidate, found];
  }
  return best === undefined ? '' : ` (did you mean "${best}"?)`;
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

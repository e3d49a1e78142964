/** The first dotted number in a text (`crun version 1.8.1` → `1.8.1`). */
export function versionIn(text: string): string | undefined {
  return /\d+(?:\.\d+)+/.exec(text)?.[0];
}

/** Less than, equal to or greater than 0, by the leading dotted numbers; what follows them is ignored. */
export function compareVersions(left: string, right: string): number {
  const [a, b] = [numbers(left), numbers(right)];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function numbers(text: string): number[] {
  return (versionIn(text) ?? text).split('.').map((part) => Number.parseInt(part, 10) || 0);
}

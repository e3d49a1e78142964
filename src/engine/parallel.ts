/**
 * Runs independent steps side by side and waits for all of them, also when one fails, so that no undo runs
 * while a step still works. Throws the first failure (by position).
 */
export async function inParallel<T extends readonly unknown[]>(
  ...steps: { [K in keyof T]: Promise<T[K]> }
): Promise<T> {
  const results = await Promise.allSettled(steps);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return results.map((result) => (result as PromiseFulfilledResult<unknown>).value) as unknown as T;
}

import { setTimeout as sleep } from 'node:timers/promises';
import { isleError } from '../../lib/errors.ts';
import { withQmp } from '../../host/qmp/connect.ts';

/** Milliseconds for a guest to give memory back. */
const patience = 15_000;

const mib = 1024 * 1024;

/**
 * Leaves the guest `target` bytes, where it had `before`. A guest gives back only what it can spare: when it does not
 * come down in time, it keeps all that it had, and `invalidParameter` is thrown.
 */
export async function setGuestMemory(qmp: string, target: number, before: number): Promise<void> {
  await withQmp(qmp, async (connected) => {
    await connected.execute('balloon', { value: target });
    if (target >= before) return;
    const end = performance.now() + patience;
    for (;;) {
      const left = actualOf(await connected.execute('query-balloon'));
      if (left <= target + mib) return;
      if (performance.now() > end) {
        await connected.execute('balloon', { value: before });
        throw isleError('invalidParameter', {
          message: `the guest cannot do with ${Math.floor(target / mib)} MiB: it still uses ${Math.floor(left / mib)} MiB`,
        });
      }
      await sleep(100);
    }
  });
}

function actualOf(answer: unknown): number {
  const actual = (answer as { actual?: unknown } | undefined)?.actual;
  if (typeof actual !== 'number') throw isleError('guestBroken', { why: 'its balloon has no size' });
  return actual;
}

import type { Qmp } from '../../../host/qmp/qmp.ts';

/** Sums up for how long the guest stands still from now on, by QEMU's own clock. */
export function pausesOf(qmp: Qmp): AsyncDisposable & { total(): Promise<number> } {
  const over = new AbortController();
  let stoppedAt: number | undefined;
  let sum = 0;
  const reading = (async () => {
    for await (const { event, at } of qmp.events(over.signal)) {
      if (event === 'STOP') stoppedAt = at;
      if (event === 'RESUME' && stoppedAt !== undefined) {
        sum += Math.max(0, at - stoppedAt) / 1000;
        stoppedAt = undefined;
      }
    }
  })();
  const end = async (): Promise<void> => {
    over.abort();
    await reading;
  };
  return {
    /** Milliseconds. Ends the counting. */
    async total() {
      // What came before the answer to this has been read.
      await qmp.execute('query-status');
      await end();
      return sum;
    },
    [Symbol.asyncDispose]: end,
  };
}

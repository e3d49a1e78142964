import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { execute } from './capture.ts';

/** Milliseconds for a system inside to come up. */
const bootPatience = 120_000;
/** Milliseconds for its start to calm down where it cannot say when it is done. */
const settling = 1000;

/**
 * Waits until the system inside is up: systemd says when; for other inits there is nothing to ask, and a second must do.
 * Resolves to the moment (monotonic milliseconds) where that is known.
 */
export async function untilBooted(bench: Bench, id: string): Promise<number | undefined> {
  const until = performance.now() + bootPatience;
  while (performance.now() < until) {
    let state: string;
    try {
      state = await execute(bench, id, ['/bin/sh', '-c', systemState], { user: '0', patience: bootPatience });
    } catch {
      break; // no shell
    }
    if (state.trim() === 'none') break;
    // While systemd comes up nobody listens yet: then there is no answer at all.
    if (/^(running|degraded)$/m.test(state)) return performance.now();
    await bench.unlessAborted(sleep(50));
  }
  await bench.unlessAborted(sleep(settling));
  return undefined;
}

const systemState =
  'command -v systemctl >/dev/null && [ "$(cat /proc/1/comm)" = systemd ] || { echo none; exit; }; systemctl is-system-running --wait 2>/dev/null || true';

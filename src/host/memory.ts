import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { nativeCalls } from './native.ts';

const calls = nativeCalls<{ trimMemory(): Promise<void> }>()('trimMemory');

/** Milliseconds after the last work: worker threads have ended by then. */
const quietTime = 12_000;

/**
 * Gives memory back to the kernel that heavy work (a pull, an unpacking) left behind as garbage and as free lists:
 * an idle engine must be small, and nothing else makes V8 and malloc let go of it.
 */
export async function releaseMemory(): Promise<void> {
  collectGarbage();
  await calls.trimMemory();
}

/** Calls {@link releaseMemory} once it has been quiet for a while after the last `touch`. */
export class MemoryRelease {
  #timer: NodeJS.Timeout | undefined;

  touch(): void {
    clearTimeout(this.#timer);
    // It only helps: a failure changes nothing for anybody.
    this.#timer = setTimeout(() => void releaseMemory().catch(() => undefined), quietTime);
    this.#timer.unref();
  }
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}

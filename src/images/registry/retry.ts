import { setTimeout as sleep } from 'node:timers/promises';
import { UnexpectedAnswer } from './answers.ts';
import type { RegistryTimeouts } from './config.ts';
import { NetworkError } from './connections.ts';

export interface RetryOptions {
  timeouts: RegistryTimeouts;
  /** Tries in all without progress. */
  tries: number;
  signal?: AbortSignal;
  /** True when the last try moved something: the count starts again. */
  progressed?(): boolean;
  /** Retry also where the first connection was refused (in the middle of a transfer a registry may restart). */
  persistent?: boolean;
  onRetry?(seconds: number): void;
}

const permanent = new Set(['no such host', 'connection refused']);

/**
 * Runs `attempt` until it succeeds, with growing and jittered delays between tries, as long as the failure is
 * one that passes: a broken connection, 408, 429 or 5xx. A Retry-After is honoured when it is short enough to
 * wait for; the last error is thrown.
 */
export async function withRetries<T>(options: RetryOptions, attempt: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      options.signal?.throwIfAborted();
      failures = options.progressed?.() ? 1 : failures + 1;
      const delay = delayFor(error, failures, options);
      if (delay === undefined || failures >= options.tries) throw error;
      options.onRetry?.(Math.ceil(delay / 1000));
      await sleep(delay, undefined, { signal: options.signal });
    }
  }
}

/** Milliseconds to wait, or undefined when no retry can help. */
function delayFor(error: unknown, failures: number, options: RetryOptions): number | undefined {
  const { retryDelay, maxRetryAfter } = options.timeouts;
  const backoff = Math.min(retryDelay * 2 ** (failures - 1), 30_000) * (0.75 + Math.random() / 2);
  if (error instanceof NetworkError)
    return (permanent.has(error.reason) && !options.persistent) || isTlsProblem(error) ? undefined : backoff;
  if (!(error instanceof UnexpectedAnswer)) return undefined;
  const passes =
    error.status === 408 || error.status === 429 || (error.status >= 500 && error.status !== 501);
  if (!passes) return undefined;
  if (error.retryAfter === undefined) return backoff;
  return error.retryAfter > maxRetryAfter ? undefined : Math.max(error.retryAfter, backoff / 4);
}

function isTlsProblem(error: NetworkError): boolean {
  return /certificate|HTTPS/.test(error.reason);
}

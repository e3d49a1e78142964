import { nativeCalls } from './native.ts';

/** Readiness of a descriptor on the event loop (uv_poll). The descriptor stays the caller's to close, after this. */
export interface Poll {
  /** Calls back while one of `events` ({@link READABLE} and so on) is so; 0 stops. */
  start(events: number): void;
  /** Idempotent. */
  close(): void;
  ref(): void;
  unref(): void;
}

export const READABLE = 1;
export const WRITABLE = 2;

/** @param onEvent gets what is ready, and a negative errno in `status` when polling failed. */
export function createPoll(fd: number, onEvent: (events: number, status: number) => void): Poll {
  return new calls.Poll(fd, onEvent);
}

const calls = nativeCalls<{
  Poll: new (fd: number, onEvent: (events: number, status: number) => void) => Poll;
}>()('Poll');

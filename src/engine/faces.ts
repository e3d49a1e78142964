import type { LogEntry, LogOptions } from './engine.ts';

/** Reads a container's log file and the rotated ones before it (`<path>.1`, …). With `follow` it goes on until `ended`. */
export type ReadLog = (
  path: string,
  options: LogOptions & { ended: Promise<void> },
  signal: AbortSignal,
) => AsyncIterable<LogEntry>;

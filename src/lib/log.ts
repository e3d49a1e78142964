import pino from 'pino';

/** What every room logs to: pino's face, cut down to what Isle uses. Objects carry fields, `err` an error. */
export interface Logger {
  debug(fields: object, message?: string): void;
  debug(message: string): void;
  info(fields: object, message?: string): void;
  info(message: string): void;
  warn(fields: object, message?: string): void;
  warn(message: string): void;
  error(fields: object, message?: string): void;
  error(message: string): void;
  /** The same log with `fields` on every line. */
  child(fields: Record<string, unknown>): Logger;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LogOptions {
  level: LogLevel;
  /** A file to append to; absent: standard error. */
  file?: string;
}

/**
 * Opens the engine's log: one JSON object a line, written at once, so that a killed daemon loses no line.
 * Throws the system error when the file cannot be opened.
 */
export function createLog(options: LogOptions): Logger {
  const destination = pino.destination({ dest: options.file ?? 2, sync: true });
  return pino({ level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

/** A log that keeps nothing: for tests and for parts run outside the daemon. */
export function silentLog(): Logger {
  const log: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore, child: () => log };
  return log;
}

function ignore(): void {}

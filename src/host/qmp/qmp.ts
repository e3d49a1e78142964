/**
 * A conversation with QEMU (or qemu-storage-daemon) by its monitor protocol:
 * https://www.qemu.org/docs/master/interop/qmp-spec.html. What comes is as trustworthy as a QEMU that a guest may have taken
 * over: bounded, and never believed without a check.
 */
export interface Qmp {
  /**
   * Answers are matched by id; any number may be under way. Throws `guestFailed` with QEMU's words when it refuses,
   * `guestUnresponsive` after `patience` milliseconds (default 5000), `guestGone` when the connection ends.
   */
  execute<T = unknown>(command: string, args?: object, options?: { patience?: number }): Promise<T>;
  /** Events from now on, until `signal` aborts or the connection ends (which ends the iteration). */
  events(signal: AbortSignal): AsyncIterable<QmpEvent>;
  /** Runs `begin` (which starts the job `id`) and waits until the job has concluded; dismisses it. Throws with the job's error. Aborting cancels it. */
  job(id: string, begin: () => Promise<unknown>, options?: JobOptions): Promise<void>;
  /** Resolves when the connection has ended, however. */
  readonly closed: Promise<void>;
  close(): void;
}

export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
  /** Microseconds since 1970. */
  at: number;
}

export interface JobOptions {
  onProgress?(done: number, total: number): void;
  signal?: AbortSignal;
}

import { Worker, type MessagePort, type ResourceLimits } from 'node:worker_threads';

/** What a job got wrong, as it crosses from the thread. */
export interface ThreadFailure {
  name: string;
  message: string;
  code?: string;
}

export type ThreadReply = { done: unknown } | { failed: ThreadFailure } | { progress: unknown };

export interface PoolOptions {
  /** The worker's file: `new URL(…, import.meta.url)`. */
  file: URL;
  /** At most this many threads; made when needed. */
  threads: number;
  /** Milliseconds after which a thread without work ends. */
  idle?: number;
  limits?: ResourceLimits;
}

/** Milliseconds that an aborted job has to stop by itself. */
const patience = 5000;

/** Told to a thread whose job is not wanted any more. */
const abortMessage = 'isle-abort';

export interface JobOptions {
  signal?: AbortSignal;
  onProgress?: (value: unknown) => void;
  transfer?: readonly (ArrayBuffer | MessagePort)[];
}

/**
 * Worker threads that run one job each at a time; more jobs wait their turn. A job is a message; the thread answers with
 * {@link ThreadReply}s. An aborted job is asked to stop, so that it can close what it opened; a thread that does not within
 * {@link patience} is ended. One that dies (out of memory, a crash) fails its job only.
 */
export class ThreadPool {
  readonly #options: PoolOptions;
  readonly #idle: Thread[] = [];
  readonly #all = new Set<Thread>();
  readonly #waiting: ((thread: Thread) => void)[] = [];

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  async run(job: unknown, options: JobOptions = {}): Promise<unknown> {
    options.signal?.throwIfAborted();
    const thread = await this.#take(options.signal);
    try {
      options.signal?.throwIfAborted();
      return await thread.run(job, options);
    } finally {
      this.#give(thread);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((thread) => thread.end()));
  }

  #take(signal: AbortSignal | undefined): Promise<Thread> | Thread {
    const idle = this.#idle.pop();
    if (idle) {
      idle.wake();
      return idle;
    }
    if (this.#all.size < this.#options.threads) return this.#start();
    return new Promise((resolve, reject) => {
      const give = (thread: Thread): void => {
        signal?.removeEventListener('abort', leave);
        resolve(thread);
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(give), 1);
        reject(signal?.reason);
      };
      this.#waiting.push(give);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  #start(): Thread {
    const thread = new Thread(this.#options, () => this.#forget(thread));
    this.#all.add(thread);
    return thread;
  }

  #give(thread: Thread): void {
    const next = this.#waiting.shift();
    if (!thread.alive) {
      this.#forget(thread);
      if (next) next(this.#start());
      return;
    }
    if (next) return next(thread);
    this.#idle.push(thread);
    thread.sleep(this.#options.idle ?? 10_000);
  }

  #forget(thread: Thread): void {
    this.#all.delete(thread);
    const at = this.#idle.indexOf(thread);
    if (at >= 0) this.#idle.splice(at, 1);
  }
}

class Thread {
  alive = true;
  readonly #worker: Worker;
  #reason: unknown;
  #timer: NodeJS.Timeout | undefined;
  #settle: { resolve(value: unknown): void; reject(error: unknown): void } | undefined;
  #onProgress: ((value: unknown) => void) | undefined;

  constructor(options: PoolOptions, onGone: () => void) {
    this.#worker = new Worker(options.file, { resourceLimits: options.limits, stdin: false });
    this.#worker.unref();
    this.#worker.on('message', (reply: ThreadReply) => this.#onReply(reply));
    this.#worker.on('error', (error: unknown) => {
      this.alive = false;
      this.#fail(error);
    });
    this.#worker.on('exit', () => {
      this.alive = false;
      this.#fail(this.#reason ?? new Error('the worker thread ended in the middle of its work'));
      onGone();
    });
  }

  async run(job: unknown, { signal, onProgress, transfer }: JobOptions): Promise<unknown> {
    let impatient: NodeJS.Timeout | undefined;
    const abort = (): void => {
      this.#worker.postMessage(abortMessage);
      impatient = setTimeout(() => void this.end(signal?.reason), patience).unref();
    };
    this.#onProgress = onProgress;
    this.#worker.ref();
    const outcome = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    signal?.addEventListener('abort', abort, { once: true });
    try {
      this.#worker.postMessage(job, transfer);
      return await outcome;
    } finally {
      signal?.removeEventListener('abort', abort);
      clearTimeout(impatient);
      this.#settle = this.#onProgress = undefined;
      this.#worker.unref();
    }
  }

  sleep(milliseconds: number): void {
    this.#timer = setTimeout(() => void this.end(), milliseconds).unref();
  }

  wake(): void {
    clearTimeout(this.#timer);
  }

  /** Ends the thread at once. Its job, if any, fails with `reason` after the thread has stopped touching anything. */
  async end(reason?: unknown): Promise<void> {
    this.alive = false;
    clearTimeout(this.#timer);
    this.#reason ??= reason ?? new Error('the worker thread was closed');
    await this.#worker.terminate();
  }

  #onReply(reply: ThreadReply): void {
    if ('progress' in reply) this.#onProgress?.(reply.progress);
    else if ('done' in reply) this.#settle?.resolve(reply.done);
    else this.#fail(revive(reply.failed));
  }

  #fail(error: unknown): void {
    this.#settle?.reject(error);
  }
}

function revive(failure: ThreadFailure): Error {
  const error = new Error(failure.message);
  error.name = failure.name;
  return failure.code === undefined ? error : Object.assign(error, { code: failure.code });
}

/** The other side: answers each message with what `work` returns or throws. `signal`: the job is not wanted any more. */
export function serveThread<Job>(
  port: {
    on(event: 'message', listener: (job: Job | typeof abortMessage) => void): unknown;
    postMessage(value: unknown): void;
  },
  work: (job: Job, onProgress: (value: unknown) => void, signal: AbortSignal) => Promise<unknown>,
): void {
  const reply = (message: ThreadReply): void => port.postMessage(message);
  let controller = new AbortController();
  port.on('message', (job) => {
    if (job === abortMessage) return controller.abort();
    controller = new AbortController();
    work(job as Job, (progress) => reply({ progress }), controller.signal).then(
      (done) => reply({ done }),
      (error: unknown) => reply({ failed: describe(error) }),
    );
  });
}

function describe(error: unknown): ThreadFailure {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { name: error.name, message: error.message, code };
}

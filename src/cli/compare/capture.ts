import type { Client, Hijacked } from '../client/client.ts';
import { Failure } from '../failure.ts';
import { Demultiplexer } from '../session/demultiplex.ts';
import type { Bench } from './bench.ts';

/** Bytes of output that are kept: the rest is only counted as having come. */
const kept = 64 * 1024;

/** The output of a workload or a command, with the moment of its first byte. */
export class Capture {
  /** Monotonic milliseconds. */
  firstByteAt: number | undefined;
  readonly firstByte: Promise<void>;
  /** Resolves when the other end has closed it, or {@link close} was called. */
  readonly ended: Promise<void>;
  #stdout = '';
  #stderr = '';
  readonly #socket: Hijacked['socket'];

  /** @param onStdout gets what comes on stdout, as it comes. */
  constructor({ socket, contentType }: Hijacked, onStdout?: (text: string) => void) {
    this.#socket = socket;
    const first = Promise.withResolvers<void>();
    const end = Promise.withResolvers<void>();
    this.firstByte = first.promise;
    this.ended = end.promise;
    const arrived = () => {
      if (this.firstByteAt !== undefined) return;
      this.firstByteAt = performance.now();
      first.resolve();
    };
    const stdout = (data: Buffer) => {
      arrived();
      this.#stdout = append(this.#stdout, data);
      onStdout?.(data.toString());
    };
    const stderr = (data: Buffer) => {
      arrived();
      this.#stderr = append(this.#stderr, data);
    };
    // A terminal's output is not in frames: that of a system container's console.
    const frames = contentType.includes('multiplexed') ? new Demultiplexer({ stdout, stderr }) : undefined;
    socket.on('data', (chunk: Buffer) => {
      try {
        if (frames) frames.write(chunk);
        else stdout(chunk);
      } catch {
        // A broken stream is an end.
        socket.destroy();
      }
    });
    socket.on('error', () => {});
    socket.once('end', end.resolve);
    socket.once('close', end.resolve);
    // The client leaves it paused.
    socket.resume();
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The last line that says something, for a message. */
  get lastLine(): string {
    const lines = `${this.#stdout}\n${this.#stderr}`.split('\n').map((line) => line.trim());
    return lines.findLast((line) => line !== '') ?? '';
  }

  close(): void {
    this.#socket.destroy();
  }
}

function append(text: string, data: Buffer): string {
  return text.length >= kept ? text : text + data.toString('utf8', 0, kept);
}

/** Connects to the output of a container that has not started. */
export async function captureContainer(client: Client, id: string): Promise<Capture> {
  return new Capture(
    await client.hijack(`/containers/${id}/attach`, {
      query: { stream: true, stdout: true, stderr: true },
    }),
  );
}

/** Starts a command in a running container. */
export async function startExec(
  client: Client,
  container: string,
  args: readonly string[],
  options: { user?: string } = {},
): Promise<{ exec: string; capture: Capture }> {
  const { Id: exec } = await client.post<{ Id: string }>(`/containers/${container}/exec`, {
    body: { Cmd: args, AttachStdout: true, AttachStderr: true, User: options.user },
  });
  const hijacked = await client.hijack(`/exec/${exec}/start`, { body: { Detach: false, Tty: false } });
  return { exec, capture: new Capture(hijacked) };
}

/** Milliseconds for a command of the comparison's own. */
const patience = 30_000;

/** Runs a command in a running container to its end. Throws a {@link Failure} with its last words when it fails. */
export async function execute(
  bench: Bench,
  container: string,
  args: readonly string[],
  options: { user?: string; patience?: number } = {},
): Promise<string> {
  const { exec, capture } = await bench.unlessAborted(startExec(bench.client, container, args, options));
  const limit = options.patience ?? patience;
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, limit, 'late' as const);
    });
    if ((await bench.unlessAborted(Promise.race([capture.ended, late]))) === 'late')
      throw new Failure(`${args.join(' ')} did not end within ${limit / 1000} s`);
  } finally {
    clearTimeout(timer);
    capture.close();
  }
  const { ExitCode } = await bench.client.get<{ ExitCode: number | null }>(`/exec/${exec}/json`);
  if (ExitCode !== 0)
    throw new Failure(`${args[0]} ended with ${ExitCode ?? 'no code'}: ${capture.lastLine}`);
  return capture.stdout;
}

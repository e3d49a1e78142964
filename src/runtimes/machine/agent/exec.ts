import { PassThrough, Writable } from 'node:stream';
import type { ExecSession, ExecSpec } from '../../../engine/runtime.ts';
import { isleError, isIsleError, messageOf } from '../../../lib/errors.ts';
import type { AgentMachine } from './agent.ts';
import { inputLimit, startProcess, type GuestProcess } from './process.ts';

/**
 * Runs a command in a machine through its guest's agent. That knows no terminals, takes all input (of at most 1 MiB) when the
 * command starts, and gives its output when it has ended. Throws as the Runtime contract's `exec`, and `guestAgentMissing`.
 */
export async function execInGuest(machine: AgentMachine, spec: ExecSpec): Promise<ExecSession> {
  if (spec.tty)
    throw isleError('invalidParameter', {
      message:
        'a command in a virtual machine has no terminal: leave out --tty (-t), or log in with "isle vm console"',
    });
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  const input = spec.stdin ? new Input() : undefined;
  const start = (data?: Buffer): Promise<GuestProcess> =>
    startProcess(machine, spec, { capture: spec.detached !== true, ...(data && { input: data }) });
  // Without input it starts at once, and who asked hears why not.
  const process = input ? input.whole.then(start) : Promise.resolve(await start());
  process.catch(() => {}); // Told by its exit.
  return {
    pid: input ? 0 : (await process).pid,
    streams: { ...(input && { stdin: input }), ...streams, close: () => input?.destroy() },
    exit: exitOf(process, streams),
    // It has no terminal.
    resize: async () => {},
    async kill() {
      input?.destroy();
      await (await process.catch(() => undefined))?.kill();
    },
  };
}

async function exitOf(
  starting: Promise<GuestProcess>,
  { stdout, stderr }: { stdout: PassThrough; stderr: PassThrough },
): Promise<{ code: number }> {
  try {
    const { code, cut, ...output } = await (await starting).ended();
    stdout.end(output.stdout);
    stderr.write(output.stderr);
    if (cut) stderr.write('isle: there was more output: the guest’s agent keeps 16 MiB\n');
    return { code };
  } catch (error) {
    stdout.end();
    stderr.write(`isle: ${messageOf(error)}\n`);
    return { code: codeOf(error) };
  } finally {
    stderr.end();
  }
}

function codeOf(error: unknown): number {
  if (isIsleError(error, 'commandNotFound')) return 127;
  if (isIsleError(error, 'commandNotExecutable')) return 126;
  // It ended with its machine; else nobody can tell any more.
  return isIsleError(error, 'guestGone', 'guestAgentMissing', 'conflict') ? 137 : 255;
}

/** What a client sends until it ends. */
class Input extends Writable {
  readonly whole: Promise<Buffer>;
  readonly #parts: Buffer[] = [];
  #size = 0;

  constructor() {
    super();
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.whole = promise;
    promise.catch(() => {});
    this.once('finish', () => resolve(Buffer.concat(this.#parts)));
    this.once('error', reject);
    this.once('close', () =>
      reject(isleError('conflict', { message: 'the input of the command was cut off' })),
    );
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#size += chunk.length;
    if (this.#size > inputLimit)
      return done(
        isleError('invalidParameter', {
          message: `a command in a virtual machine takes at most ${inputLimit >> 20} MiB of input: copy a file there with "isle cp" instead`,
        }),
      );
    this.#parts.push(chunk);
    done();
  }
}

import type { Client } from '../client/client.ts';
import { readAll } from '../client/lines.ts';
import type { WaitAnswer } from '../client/types.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { defaultDetachKeys, parseDetachKeys } from './detach-keys.ts';
import { handleSignals } from './signals.ts';
import { resizer } from './size.ts';
import { type StreamEnd, StreamSession } from './stream.ts';

export interface ForegroundOptions {
  id: string;
  /** What the user calls it, for the way back. */
  name: string;
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  detachKeys: string | undefined;
  /** Another sequence that leaves, too. */
  otherKeys?: string;
  /** How to come back, for people; `isle attach NAME` when absent. */
  comeBack?: string;
  sigProxy: boolean;
  /** Also bring stored output, as attaching to a container before its start needs nothing of it. */
  logs?: boolean;
  wait: 'next-exit' | 'removed' | 'not-running';
  /** Once output is kept for us, and before any of it is shown. */
  before?: () => Promise<void>;
  /** Starts it once everything is connected; absent when it runs already. */
  start?: () => Promise<void>;
}

/**
 * Connects this terminal to a container, starts it if asked, and stays until it ends. Resolves to the exit code:
 * the container's own, or 0 when detached by keys and 130 by Ctrl-C.
 */
export async function runInForeground(context: Context, options: ForegroundOptions): Promise<number> {
  const { client } = context;
  const path = `/containers/${options.id}`;
  const keys = parseDetachKeys(options.detachKeys ?? defaultDetachKeys);
  const streams = options.stdin || options.stdout || options.stderr;
  const abort = new AbortController();
  const [hijacked, { exit }] = await Promise.all([
    streams
      ? client.hijack(`${path}/attach`, {
          query: {
            stream: true,
            stdin: options.stdin || undefined,
            stdout: options.stdout || undefined,
            stderr: options.stderr || undefined,
            logs: options.logs,
            detachKeys: options.detachKeys,
          },
        })
      : undefined,
    waitFor(client, path, options.wait, abort.signal),
  ]);
  const session =
    hijacked &&
    new StreamSession(context, hijacked, {
      ...options,
      detachKeys: options.tty && options.stdin ? [keys, parseDetachKeys(options.otherKeys ?? '')] : [],
    });
  await options.before?.();
  const resize = options.tty ? resizer(client, path) : undefined;
  let interrupted = false;
  const raw = StreamSession.isRaw(options);
  const release = handleSignals({
    forward: options.sigProxy
      ? (signal) => {
          client.post(`${path}/kill`, { query: { signal } }).catch(() => {});
        }
      : undefined,
    detach: () => {
      interrupted = true;
      session?.detach();
      abort.abort();
    },
    ...(resize && { resize }),
  });
  try {
    const streaming: Promise<StreamEnd> = session ? session.run() : Promise.resolve('ended');
    if (options.start) {
      try {
        await options.start();
      } catch (error) {
        abort.abort();
        session?.close();
        await Promise.allSettled([streaming, exit]);
        throw error;
      }
    }
    resize?.();
    const end = await streaming;
    if (end === 'detached') {
      abort.abort();
      await exit.catch(() => {});
      sayHowToComeBack(context, options, raw);
      return interrupted ? 130 : 0;
    }
    const answer = await exit.catch((cause: unknown) => {
      throw new Failure(`the engine went away; ${options.name} runs on without it`, {
        exitCode: 125,
        hint: `start the engine and come back: isle up; ${options.comeBack ?? `isle attach ${options.name}`}`,
        cause,
      });
    });
    if (answer.Error?.Message) throw new Failure(answer.Error.Message, { exitCode: 125 });
    return answer.StatusCode;
  } catch (error) {
    if (!interrupted) throw error;
    sayHowToComeBack(context, options, raw);
    return 130;
  } finally {
    release();
  }
}

/** Registered when this resolves: the engine sends its headers then. `exit` is for the end itself. */
async function waitFor(
  client: Client,
  path: string,
  condition: string,
  signal: AbortSignal,
): Promise<{ exit: Promise<WaitAnswer> }> {
  const response = await client.stream('POST', `${path}/wait`, { query: { condition }, signal });
  const exit = readAll(response.body).then((body) => JSON.parse(body.toString()) as WaitAnswer);
  exit.catch(() => {});
  return { exit };
}

function sayHowToComeBack({ err }: Context, options: ForegroundOptions, raw: boolean): void {
  err.write(raw ? '\r\n' : '\n');
  const comeBack = options.comeBack ?? `isle attach ${options.name}`;
  err.line(`isle: detached; ${options.name} runs on. To come back: ${comeBack}`);
}

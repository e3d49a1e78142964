import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { mkdtemp, readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { isleError } from '../../lib/errors.ts';
import { removeTree } from './remove-tree.ts';
import { defaultPath } from './spec-process.ts';

/** conmon's answer is one short line; an error carries at most 8 KiB of the runtime's stderr, escaped. */
const maxAnswer = 64 * 1024;

export interface MonitorTools {
  conmon: string;
  runtime: string;
  /** Descriptor to execute instead of `runtime`. */
  sealed?: number;
  kind: 'crun' | 'runc';
  /** The OCI runtime's `--root`. */
  state: string;
  /** A directory of root's alone for the sockets on which terminals are handed over; otherwise that is /tmp. */
  terminals: string;
}

export interface MonitorRequest {
  /** The container's id at the OCI runtime. */
  id: string;
  /** Names this conmon; for an exec another than the container's. */
  unit: string;
  /** Where conmon makes `attach` and `ctl`; for a container also holds config.json. */
  directory: string;
  /** Absent: keep no log. */
  logPath?: string;
  tty: boolean;
  stdin: boolean;
  /** Keep the process's stdin open when a client half-closes or goes. */
  leaveStdinOpen: boolean;
  /** Where `<id>` appears with the exit code. */
  exitDirectory?: string;
  /** Run a further process (path of its JSON) in a running container instead of creating one. */
  execSpec?: string;
}

/** A conmon that has created its process. */
export interface Monitor {
  /** Host pid of the process it monitors. */
  pid: number;
  /** Resolves when conmon itself has ended. */
  ended: Promise<void>;
  /** conmon's further messages: for an exec its exit code. */
  answers: AsyncIterator<MonitorAnswer>;
}

export interface MonitorAnswer {
  data: number;
  message?: string;
}

export class MonitorFailure extends Error {}

/**
 * Starts a conmon that creates a container or runs an exec, and waits until the process exists.
 * Throws {@link MonitorFailure} with the OCI runtime's words when it does not come to be.
 *
 * An exec runs at once: `onAttachable` is called before, when its attach socket is there.
 *
 * conmon stays this process's child (`--sync` saves a fork) and is the init's when we die: it makes its own
 * session, and nothing of it depends on us. It marks the descriptors of its pipes close-on-exec, and gives the
 * container three (conmon.c).
 */
export async function startMonitor(
  tools: MonitorTools,
  request: MonitorRequest,
  onAttachable?: () => Promise<void>,
): Promise<Monitor> {
  await using terminal = request.tty ? await terminalDirectory(tools) : undefined;
  const child = spawn(tools.conmon, argumentsOf(tools, request), {
    cwd: request.directory,
    env: { PATH: defaultPath, TZ: 'UTC', ...terminal?.env, ...pipes(onAttachable) },
    stdio: stdioOf(tools, onAttachable !== undefined),
  });
  const ended = endOf(child, tools.conmon);
  const pipe = child.stdio[3] as Socket;
  const answers = answersOf(pipe);
  if (onAttachable) await openExec(child, ended, onAttachable);
  const first = await Promise.race([answers.next(), failed(ended)]);
  if (first.done || first.value.data < 0) {
    await ended;
    throw new MonitorFailure(first.value?.message ?? (await runtimeLog(request)));
  }
  child.unref();
  pipe.unref();
  if (request.execSpec === undefined) pipe.destroy();
  return { pid: first.value.data, ended, answers };
}

/** Descriptors 3 to 5 are conmon's pipes, and 6 the program it executes. The container gets none of them. */
function stdioOf(tools: MonitorTools, exec: boolean): StdioOptions {
  const pipe = exec ? 'pipe' : 'ignore';
  const program = tools.sealed === undefined ? [] : [tools.sealed];
  return ['ignore', 'ignore', 'ignore', 'pipe', pipe, pipe, ...program];
}

/**
 * conmon binds `$TMPDIR/conmon-term.XXXXXX` to be handed the terminal, and leaves it behind when that fails. A
 * socket's path holds 107 bytes: where the run root's is too long, /tmp has to do.
 */
async function terminalDirectory({ terminals }: MonitorTools) {
  if (Buffer.byteLength(terminals) > 80) return undefined;
  const directory = await mkdtemp(join(terminals, 't'));
  return {
    env: { TMPDIR: directory },
    [Symbol.asyncDispose]: () => removeTree(directory),
  };
}

function pipes(exec: unknown): NodeJS.ProcessEnv {
  return exec ? { _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4', _OCI_ATTACHPIPE: '5' } : { _OCI_SYNCPIPE: '3' };
}

/** conmon waits for a byte on the start pipe before it does anything, and for a second one before it executes. */
async function openExec(
  child: ChildProcess,
  ended: Promise<void>,
  onAttachable: () => Promise<void>,
): Promise<void> {
  const [, , , , start, attach] = child.stdio as unknown as Socket[];
  if (!start || !attach) return;
  // EPIPE: conmon ended; its answer tells why.
  start.on('error', () => {});
  try {
    start.write('\0');
    const ready = await Promise.race([answersOf(attach).next(), ended.then(() => undefined)]);
    if (!ready || ready.done) return;
    await onAttachable();
    start.write('\0');
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    start.end();
    attach.destroy();
  }
}

/** Rejects when conmon could not be started; an end without an answer is the pipe's to tell. */
async function failed(ended: Promise<void>): Promise<never> {
  await ended;
  return await new Promise<never>(() => {});
}

/** With a terminal conmon has no pipe on which an exec's failure could reach it: the OCI runtime leaves a file. */
function logsToFile(request: MonitorRequest): boolean {
  return request.tty && request.execSpec !== undefined;
}

function runtimeLogOf(directory: string): string {
  return join(directory, 'runtime.log');
}

async function runtimeLog(request: MonitorRequest): Promise<string> {
  return logsToFile(request) ? await readFile(runtimeLogOf(request.directory), 'utf8').catch(() => '') : '';
}

function argumentsOf(tools: MonitorTools, request: MonitorRequest): string[] {
  const { directory } = request;
  return [
    ['--api-version', '1', '--sync', '--full-attach', '--no-sync-log', '--log-level', 'error'],
    ['-c', request.id, '-u', request.unit, '-b', directory],
    [
      '-r',
      tools.sealed === undefined ? tools.runtime : '/proc/self/fd/6',
      '--runtime-arg',
      `--root=${tools.state}`,
    ],
    ['-p', `${directory}/pid`, '--persist-dir', directory],
    ['-l', request.logPath === undefined ? 'none' : `k8s-file:${request.logPath}`],
    request.exitDirectory === undefined ? [] : ['--exit-dir', request.exitDirectory],
    request.tty ? ['-t'] : [],
    // With a terminal, -i would only make conmon close the terminal when a client goes.
    request.stdin && !request.tty ? ['-i'] : [],
    request.leaveStdinOpen ? ['--leave-stdin-open'] : [],
    logsToFile(request) ? ['--runtime-arg', `--log=${runtimeLogOf(directory)}`] : [],
    request.execSpec === undefined ? [] : ['-e', '--exec-attach', '--exec-process-spec', request.execSpec],
  ].flat();
}

function endOf(child: ChildProcess, path: string): Promise<void> {
  const ended = new Promise<void>((resolve, reject) => {
    child.once('exit', () => resolve());
    child.once('error', (error) =>
      reject(isleError('hostTool', { tool: path, message: `cannot be started: ${error.message}` }, error)),
    );
  });
  // Who does not wait for the end must not be killed by its failure: the first answer reports it.
  ended.catch(() => {});
  return ended;
}

/** conmon's JSON lines, as they come. */
async function* answersOf(pipe: Readable): AsyncGenerator<MonitorAnswer, undefined> {
  let rest = '';
  try {
    for await (const chunk of pipe) {
      rest += String(chunk);
      if (rest.length > maxAnswer) return undefined;
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
        const answer = parseAnswer(rest.slice(0, end));
        rest = rest.slice(end + 1);
        if (answer) yield answer;
      }
    }
  } catch {
    // ECONNRESET: conmon ended; there is nothing more to hear.
  }
  return undefined;
}

function parseAnswer(line: string): MonitorAnswer | undefined {
  try {
    const { data, message } = JSON.parse(line) as Partial<MonitorAnswer>;
    if (typeof data !== 'number') return undefined;
    return message === undefined ? { data } : { data, message: String(message) };
  } catch {
    return undefined;
  }
}

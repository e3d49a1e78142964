import { mkdtemp, readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import {
  type ChildDescriptor,
  type SpawnedProgram,
  type SpawnOptions,
  spawnProgram,
} from '../../host/spawn.ts';
import { isleError, messageOf } from '../../lib/errors.ts';
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
  const exec = onAttachable !== undefined;
  const program = await startProgram(tools, request, {
    cwd: request.directory,
    env: { PATH: defaultPath, TZ: 'UTC', ...terminal?.env, ...pipes(exec) },
    descriptors: descriptorsOf(tools, exec),
  });
  const pipe = program.pipes.get(3) as Socket;
  const answers = answersOf(pipe);
  if (onAttachable) await openExec(program, onAttachable);
  const first = await answers.next();
  if (first.done || first.value.data < 0) {
    await program.ended;
    throw new MonitorFailure(first.value?.message ?? (await runtimeLog(request)));
  }
  pipe.unref();
  if (request.execSpec === undefined) pipe.destroy();
  return { pid: first.value.data, ended: program.ended, answers };
}

async function startProgram(
  tools: MonitorTools,
  request: MonitorRequest,
  options: SpawnOptions,
): Promise<SpawnedProgram> {
  try {
    return await spawnProgram(tools.conmon, argumentsOf(tools, request), options);
  } catch (error) {
    const message = `cannot be started: ${messageOf(error)}`;
    throw isleError('hostTool', { tool: tools.conmon, message }, error);
  }
}

/** Descriptors 3 to 5 are conmon's pipes, and 6 the program it executes. The container gets none of them. */
function descriptorsOf(tools: MonitorTools, exec: boolean): ChildDescriptor[] {
  const execPipes: ChildDescriptor[] = exec ? ['in', 'out'] : ['null', 'null'];
  const program = tools.sealed === undefined ? [] : [tools.sealed];
  return ['null', 'null', 'null', 'out', ...execPipes, ...program];
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

function pipes(exec: boolean): Record<string, string> {
  return exec ? { _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4', _OCI_ATTACHPIPE: '5' } : { _OCI_SYNCPIPE: '3' };
}

/** conmon waits for a byte on the start pipe before it does anything, and for a second one before it executes. */
async function openExec(program: SpawnedProgram, onAttachable: () => Promise<void>): Promise<void> {
  const [start, attach] = [program.pipes.get(4), program.pipes.get(5)];
  if (!start || !attach) return;
  // EPIPE: conmon ended; its answer tells why.
  start.on('error', () => {});
  try {
    start.write('\0');
    const ready = await answersOf(attach).next();
    if (ready.done) return;
    await onAttachable();
    start.write('\0');
  } catch (error) {
    program.kill();
    throw error;
  } finally {
    start.end();
    attach.destroy();
  }
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

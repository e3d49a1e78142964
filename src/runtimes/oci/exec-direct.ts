import { type ChildProcess, spawn } from 'node:child_process';
import { fchownSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PassThrough, type Readable } from 'node:stream';
import type { ExecSession, ExecSpec, Streams } from '../../engine/runtime.ts';
import { closeFd } from '../../host/paths.ts';
import { createPipe } from '../../host/pipe.ts';
import { type IsleError, isleError } from '../../lib/errors.ts';
import type { MonitorTools } from './conmon.ts';
import type { Container } from './container.ts';
import { killerOf } from './exec-kill.ts';
import type { NumberFiles } from './number-files.ts';
import { removeTree } from './remove-tree.ts';
import { runtimeFailure } from './runtime-failure.ts';
import { defaultPath } from './spec-process.ts';

/** Milliseconds in which a container that was killed is seen to be dead. */
const dying = 1500;

/** Milliseconds of silence after the process ended, when something it left behind keeps its output open. */
const patience = 100;

/**
 * Runs a process in a container as a child of ours, with pipes to us: half the time that a monitor takes. It
 * belongs to the client that waits for it: when this daemon dies, so do its streams.
 */
export async function executeDirectly(
  container: Container,
  spec: ExecSpec,
  place: { directory: string; pids: NumberFiles; pidPath: string },
  specPath: string,
  tools: MonitorTools,
  owner: StreamOwner,
): Promise<ExecSession> {
  const log = join(place.directory, 'log');
  const args = [
    [`--root=${tools.state}`, `--log=${log}`],
    ['exec', '--process', specPath, '--pid-file', place.pidPath, container.id],
  ].flat();
  const { child, streams, settle } = spawnWithPipes(tools, args, spec.stdin, owner);
  const ended = endOf(child);
  try {
    const pid = await pidOf(place, spec.id, ended);
    if (pid !== undefined) {
      // Not before the pid has been read: a short command may have ended by then.
      void ended
        .then(settle)
        .then(() => cleanUp(place))
        .catch(() => {});
      return { pid, streams, exit: ended, resize: async () => {}, kill: killerOf(pid) };
    }
    const message = await readFile(log, 'utf8').catch(() => '');
    throw await execFailure(tools.kind, message, container, spec);
  } catch (error) {
    streams.close();
    throw error;
  }
}

/** Host ids of whoever the process runs as. */
export interface StreamOwner {
  uid: number;
  gid: number;
}

/** Why a process could not be executed. */
export async function execFailure(
  tool: string,
  message: string,
  container: Container,
  spec: ExecSpec,
): Promise<IsleError> {
  const failure = runtimeFailure(tool, message, spec.args[0] ?? '');
  if (failure.code === 'commandNotFound' || failure.code === 'commandNotExecutable') return failure;
  const told = /is not running|paused|is stopped/.test(message);
  // A container that is just dying fails in many ways before it is seen to be dead.
  if (!told) await Promise.race([container.exit, delay(dying, undefined, { ref: false })]).catch(() => {});
  if (!told && container.alive) return failure;
  return isleError('conflict', { message: `container ${container.id} is not running, or paused` }, failure);
}

/** The OCI runtime writes the pid just before it executes the command; undefined when it did not get there. */
async function pidOf(
  { pids }: { pids: NumberFiles },
  id: string,
  ended: Promise<unknown>,
): Promise<number | undefined> {
  const over = new AbortController();
  // A program that cannot be started at all rejects: that error is the one to tell.
  const failed = ended.then(
    () => over.abort(new Error('ended')),
    (error: unknown) => over.abort(error),
  );
  try {
    return (await pids.next(id, over.signal)).value;
  } catch {
    await failed;
    await ended;
    return (await pids.read(id))?.value;
  }
}

function spawnWithPipes(tools: MonitorTools, args: string[], wantsStdin: boolean, owner: StreamOwner) {
  const [out, err, input] = createPipes(wantsStdin ? 3 : 2) as [Ends, Ends, Ends?];
  // crun gives the streams to the first process of a container only: /dev/stdout would not open.
  for (const fd of [out.write, err.write, input?.read])
    if (fd !== undefined) fchownSync(fd, owner.uid, owner.gid);
  let child: ChildProcess;
  try {
    const stdio = [input?.read ?? ('ignore' as const), out.write, err.write];
    const options = { cwd: '/', env: { PATH: defaultPath } };
    child =
      tools.sealed === undefined
        ? spawn(tools.runtime, args, { ...options, stdio })
        : spawn('/proc/self/fd/3', args, {
            ...options,
            stdio: [...stdio, tools.sealed],
            argv0: tools.runtime,
          });
  } finally {
    for (const fd of [out.write, err.write, input?.read]) if (fd !== undefined) closeFd(fd);
  }
  const stdout = outputOf(out.read);
  const stderr = outputOf(err.read);
  const stdin = input && new Socket({ fd: input.write, readable: false, writable: true });
  // EPIPE: the process has closed its stdin or ended.
  stdin?.on('error', () => stdin.destroy());
  const close = () => {
    stdin?.destroy();
    for (const output of [stdout, stderr]) output.cut();
  };
  const streams: Streams = { stdout: stdout.stream, stderr: stderr.stream, close };
  if (stdin) streams.stdin = stdin;
  const settle = async () => {
    await Promise.all([stdout.settle(), stderr.settle()]);
    stdin?.destroy();
  };
  return { child, streams, settle };
}

interface Ends {
  read: number;
  write: number;
}

/** All or none: without descriptors left, each try would take some more for good. */
function createPipes(count: number): Ends[] {
  const pipes: Ends[] = [];
  try {
    while (pipes.length < count) pipes.push(createPipe());
    return pipes;
  } catch (error) {
    for (const { read, write } of pipes) for (const fd of [read, write]) closeFd(fd);
    throw error;
  }
}

/** What comes out of a pipe, until its end or until it is cut off. */
function outputOf(fd: number): { stream: Readable; cut(): void; settle(): Promise<void> } {
  const pipe = new Socket({ fd, readable: true, writable: false });
  const stream = new PassThrough();
  const cut = () => {
    if (!stream.writableEnded) stream.end();
    pipe.destroy();
  };
  pipe.on('error', cut);
  pipe.pipe(stream);
  // A client that has gone must not block the process: what it writes is dropped.
  stream.on('close', () => pipe.unpipe(stream).resume());
  return {
    stream,
    cut,
    /** After the process has ended: takes what is still in the pipe. */
    async settle() {
      if (pipe.readableEnded || pipe.destroyed) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      // A reader that is slow is waited for: what the process wrote is still on its way.
      const timer = setTimeout(() => (stream.writableNeedDrain ? timer.refresh() : resolve()), patience);
      pipe
        .on('data', () => timer.refresh())
        .once('end', resolve)
        .once('close', resolve);
      await promise;
      clearTimeout(timer);
      cut();
    },
  };
}

function endOf(child: ChildProcess): Promise<{ code: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ code: number }>();
  child.once('exit', (code, signal) =>
    resolve({ code: code ?? 128 + (signal === null ? 0 : constants.signals[signal]) }),
  );
  child.once('error', (error) =>
    reject(isleError('hostTool', { tool: child.spawnfile, message: error.message }, error)),
  );
  promise.catch(() => {});
  return promise;
}

async function cleanUp({ directory, pidPath }: { directory: string; pidPath: string }): Promise<void> {
  await Promise.all([removeTree(directory), rm(pidPath, { force: true })]);
}

import { constants } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecSession, ExecSpec, Streams } from '../../engine/runtime.ts';
import { closeFd, O_PATH, openIn } from '../../host/paths.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { Rollback } from '../../lib/rollback.ts';
import { AttachHub } from './attach.ts';
import { type Monitor, MonitorFailure, type MonitorTools, startMonitor } from './conmon.ts';
import type { Container } from './container.ts';
import { resizeTerminal } from './control.ts';
import { execFailure, executeDirectly, type StreamOwner } from './exec-direct.ts';
import { killerOf } from './exec-kill.ts';
import type { NumberFiles } from './number-files.ts';
import { removeTree } from './remove-tree.ts';
import { readRootFile } from './root-files.ts';
import { capabilitySets } from './spec-capabilities.ts';
import { baseProcess } from './spec-process.ts';
import { rlimitsOf } from './spec-rlimits.ts';
import type { OciProcess } from './spec-types.ts';
import { checkMapped, lookUpUser } from './spec-user.ts';
import { restoreNull } from './staging.ts';

/** Exit code of an exec whose monitor was killed. */
const unknownExit = 255;

export interface ExecPlace {
  /** Holds everything of the exec until it has ended. */
  directory: string;
  pids: NumberFiles;
  /** In the directory of `pids`, named like the exec. */
  pidPath: string;
  /** What a privileged exec gets. */
  allCapabilities: string[];
}

/**
 * Runs another process in `container`: directly for a client that waits for it, under a conmon of its own when it
 * has a terminal or must outlive the daemon.
 */
export async function startExec(
  container: Container,
  spec: ExecSpec,
  place: ExecPlace,
  tools: MonitorTools,
): Promise<ExecSession> {
  const { directory } = place;
  const process = await execProcess(container, spec, place.allCapabilities);
  await using undo = new Rollback();
  failpoint('runtime.exec.before');
  await makeDirectory(directory, container.id);
  undo.add('directory', () => removeTree(directory));
  const specPath = join(directory, 'process.json');
  await writeFile(specPath, JSON.stringify(process), { mode: 0o600 });
  const run = spec.tty || spec.detached ? monitored : executeDirectly;
  const owner = ownerOf(process, container);
  const session = await run(container, spec, place, specPath, tools, owner).finally(restoreNull);
  await shareOomScore(container.pid, session.pid);
  failpoint('runtime.exec.after');
  undo.keep();
  return session;
}

/** crun gives it to the first process only: another one would keep the daemon's, and be killed after everything else. */
async function shareOomScore(from: number, to: number): Promise<void> {
  const [score, own] = await Promise.all([from, to].map(oomScoreOf));
  if (score !== undefined && own !== undefined && own < score)
    await writeFile(`/proc/${to}/oom_score_adj`, String(score)).catch(() => {}); // It has ended.
}

async function oomScoreOf(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/oom_score_adj`, 'latin1').catch(() => undefined);
  return text === undefined ? undefined : Number(text);
}

/** Its parent goes with the container. */
async function makeDirectory(directory: string, id: string): Promise<void> {
  try {
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT')
      throw isleError('conflict', { message: `container ${id} is not running` }, error);
    throw error;
  }
}

async function monitored(
  container: Container,
  spec: ExecSpec,
  { directory }: ExecPlace,
  specPath: string,
  tools: MonitorTools,
): Promise<ExecSession> {
  const hub = new AttachHub({ path: join(directory, 'attach'), stdin: spec.stdin, closesStdin: !spec.tty });
  let streams: Streams | undefined;
  const monitor = await monitorOf(container, spec, directory, specPath, tools, async () => {
    streams = await hub.attach();
  });
  return {
    pid: monitor.pid,
    streams: streams as Streams,
    exit: exitOf(monitor, directory),
    resize: (size) => resizeTerminal(directory, size),
    kill: killerOf(monitor.pid),
  };
}

async function monitorOf(
  container: Container,
  spec: ExecSpec,
  directory: string,
  execSpec: string,
  tools: MonitorTools,
  onAttachable: () => Promise<void>,
): Promise<Monitor> {
  const { id } = container;
  try {
    return await startMonitor(
      tools,
      { id, unit: spec.id, directory, tty: spec.tty, stdin: spec.stdin, leaveStdinOpen: false, execSpec },
      onAttachable,
    );
  } catch (error) {
    if (!(error instanceof MonitorFailure)) throw error;
    throw await execFailure(tools.kind, error.message, container, spec);
  }
}

async function exitOf(monitor: Monitor, directory: string): Promise<{ code: number }> {
  const last = await monitor.answers.next();
  // The streams' end comes with conmon's own.
  void monitor.ended.then(() => removeTree(directory)).catch(() => {});
  return { code: last.done ? unknownExit : last.value.data & 0xff };
}

function ownerOf({ user }: OciProcess, { record: { idMap } }: Container): StreamOwner {
  const first = idMap?.hostId ?? 0;
  return { uid: first + user.uid, gid: first + user.gid };
}

async function execProcess(container: Container, spec: ExecSpec, all: string[]): Promise<OciProcess> {
  const { record, pid } = container;
  const root = `/proc/${pid}/root`;
  const user = await lookUpUser(spec.user, record.groupAdd, (path) => readRootFile(root, path));
  checkMapped(user, record);
  const process = baseProcess({ ...spec, hostname: record.hostname }, user, record.capabilities, record);
  if (spec.privileged) process.capabilities = capabilitySets(all, user.uid);
  if (process.cwd !== '/') await checkDirectory(root, process.cwd);
  if (spec.tty && spec.size) process.consoleSize = { height: spec.size.rows, width: spec.size.columns };
  const rlimits = rlimitsOf(record.ulimits);
  if (rlimits.length > 0) process.rlimits = rlimits;
  return process;
}

/** The working directory must be a plain one of the container's: no link through /proc (CVE-2024-21626). */
async function checkDirectory(root: string, cwd: string): Promise<void> {
  try {
    closeFd(await openIn(root, cwd, O_PATH | constants.O_DIRECTORY));
  } catch (error) {
    const why = errnoOf(error) === 'ENOENT' ? 'no such file or directory' : (errnoOf(error) ?? 'refused');
    throw isleError('invalidParameter', { message: `chdir to cwd ("${cwd}") failed: ${why}` }, error);
  }
}

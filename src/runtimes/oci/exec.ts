import { constants } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
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
import { readRootFile } from './root-files.ts';
import { runtimeFailure } from './runtime-failure.ts';
import { capabilitySets } from './spec-capabilities.ts';
import { baseProcess } from './spec-process.ts';
import { rlimitsOf } from './spec-rlimits.ts';
import type { OciProcess } from './spec-types.ts';
import { lookUpUser } from './spec-user.ts';

/** Exit code of an exec whose monitor was killed. */
const unknownExit = 255;

/**
 * Runs another process in `container` under a conmon of its own: it outlives the daemon as the container does.
 * Everything of it lies in `directory` until it has ended.
 */
export async function startExec(
  container: Container,
  spec: ExecSpec,
  directory: string,
  tools: MonitorTools,
  allCapabilities: string[],
): Promise<ExecSession> {
  const process = await execProcess(container, spec, allCapabilities);
  await using undo = new Rollback();
  failpoint('runtime.exec.before');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  undo.add('directory', () => rm(directory, { recursive: true, force: true }));
  const specPath = join(directory, 'process.json');
  await writeFile(specPath, JSON.stringify(process), { mode: 0o600 });
  const hub = new AttachHub({ path: join(directory, 'attach'), stdin: spec.stdin, closesStdin: !spec.tty });
  let streams: Streams | undefined;
  const monitor = await monitorOf(container, spec, directory, specPath, tools, async () => {
    streams = await hub.attach();
  });
  failpoint('runtime.exec.after');
  undo.keep();
  return {
    pid: monitor.pid,
    streams: streams as Streams,
    exit: exitOf(monitor, directory),
    resize: (size) => resizeTerminal(directory, size),
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
    if (container.ended || /is not running|is paused/.test(error.message))
      throw isleError('conflict', { message: `container ${id} is not running, or paused` }, error);
    throw runtimeFailure(tools.kind, error.message, spec.args[0] ?? '');
  }
}

async function exitOf(monitor: Monitor, directory: string): Promise<{ code: number }> {
  const last = await monitor.answers.next();
  // The streams' end comes with conmon's own.
  void monitor.ended.then(() => rm(directory, { recursive: true, force: true })).catch(() => {});
  return { code: last.done ? unknownExit : last.value.data & 0xff };
}

async function execProcess(container: Container, spec: ExecSpec, all: string[]): Promise<OciProcess> {
  const { record, pid } = container;
  const root = `/proc/${pid}/root`;
  const user = await lookUpUser(spec.user, record.groupAdd, (path) => readRootFile(root, path));
  const process = baseProcess(spec, user, record.capabilities, record);
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

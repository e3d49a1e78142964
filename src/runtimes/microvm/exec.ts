import type { ExecSession, ExecSpec } from '../../engine/runtime.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { isIsleError, isleError } from '../../lib/errors.ts';
import type { GuestExit } from './guest/exec-session.ts';
import { execProcess } from './guest-process.ts';
import { endsWithin, type Vm } from './vm.ts';

/** Exit code of a process that ended with its VM, and of one that nobody can tell about any more. */
const ended = { killed: 137, unknown: 255 } as const;

const sigkill = 9;

/** A guest that says so, or that is gone. */
function hasEnded(error: unknown): void {
  if (!isIsleError(error, 'guestFailed', 'guestGone')) throw error;
}

/** Runs another process in a guest. Throws as the Runtime contract's `exec`. */
export async function startExec(vm: Vm, spec: ExecSpec): Promise<ExecSession> {
  const process = await execProcess(vm.record.workload, spec, vm.place.root);
  failpoint('microvm.exec.before');
  const agent = await vm.agent();
  const session = await agent.exec(process, { detached: spec.detached === true }).catch((error: unknown) => {
    throw explain(vm, spec, error);
  });
  failpoint('microvm.exec.after');
  return {
    pid: session.pid,
    streams: session.streams,
    exit: exitOf(vm, session.exit),
    resize: (size) => session.resize(size),
    kill: () => session.signal(sigkill).catch(hasEnded),
  };
}

function explain(vm: Vm, spec: ExecSpec, error: unknown): unknown {
  if (vm.over || isIsleError(error, 'guestGone'))
    return isleError('conflict', { message: `container ${vm.id} is not running` }, error);
  if (isIsleError(error, 'guestFailed') && /chdir|cwd|directory/.test(error.message))
    return isleError(
      'invalidParameter',
      { message: `chdir to cwd ("${spec.cwd}") failed: ${error.message}` },
      error,
    );
  return error;
}

async function exitOf(vm: Vm, exit: Promise<GuestExit>): Promise<{ code: number }> {
  try {
    return { code: (await exit).code };
  } catch {
    // The connection may be seen to end before the VM is.
    return { code: (await endsWithin(vm.exit, 3000)) ? ended.killed : ended.unknown };
  }
}

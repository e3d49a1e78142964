import { setTimeout as sleep } from 'node:timers/promises';
import { isleError, isIsleError } from '../../../lib/errors.ts';
import { openAgent, withAgent, type Agent, type AgentMachine } from './agent.ts';
import { guestExec, type GuestCommand } from './command.ts';

export interface GuestResult {
  code: number;
  stdout: Buffer;
  stderr: Buffer;
  /** The guest's agent kept 16 MiB of it, and no more. */
  cut: boolean;
}

/** Bytes of an answer: both outputs, in base64. */
const outputLimit = 24 << 20;
/** Bytes of input that a command takes. */
export const inputLimit = 1 << 20;

/**
 * Starts a command in the guest. Throws `commandNotFound`, `commandNotExecutable`, `guestAgentMissing`, `guestUnresponsive`,
 * `guestFailed`.
 */
export async function startProcess(
  machine: AgentMachine,
  command: GuestCommand,
  { input, capture = true }: { input?: Buffer; capture?: boolean } = {},
): Promise<GuestProcess> {
  const agent = await openAgent(machine);
  try {
    const answer = await agent
      .execute('guest-exec', {
        ...guestExec(command),
        ...(input && { 'input-data': input.toString('base64') }),
        'capture-output': capture,
      })
      .catch((error: unknown) => {
        throw explain(error, command);
      });
    return new GuestProcess(machine, agent, numberIn(answer, 'pid'));
  } catch (error) {
    await agent[Symbol.asyncDispose]();
    throw error;
  }
}

/** Runs a command to its end. */
export async function runInGuest(
  machine: AgentMachine,
  args: string[],
  input?: Buffer,
): Promise<GuestResult> {
  const process = await startProcess(machine, { args, env: [], cwd: '', user: '' }, input ? { input } : {});
  return await process.ended();
}

export class GuestProcess {
  readonly pid: number;
  readonly #machine: AgentMachine;
  #agent: Agent | undefined;

  constructor(machine: AgentMachine, agent: Agent, pid: number) {
    this.#machine = machine;
    this.#agent = agent;
    this.pid = pid;
  }

  /**
   * Asks until it has ended; others get the agent in between. A guest that does not answer is asked on: it may be paused.
   * Rejects when nobody can tell any more: `guestFailed` (it booted again), `guestGone`, `guestAgentMissing`.
   */
  async ended(): Promise<GuestResult> {
    const begin = performance.now();
    for (let wait = 10; ; wait = Math.min(1000, wait * 1.5)) {
      await sleep(wait);
      const status = await this.#status().catch((error: unknown) => {
        if (!isIsleError(error, 'guestUnresponsive')) throw error;
        return undefined;
      });
      if (status?.exited === true) {
        await this.#letGo();
        return resultOf(status);
      }
      if (performance.now() - begin > 300) await this.#letGo();
    }
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await runInGuest(this.#machine, ['kill', '-KILL', String(this.pid)]).catch((error: unknown) => {
      if (!isIsleError(error, 'guestFailed', 'guestGone', 'guestAgentMissing')) throw error;
    });
  }

  async #status(): Promise<Record<string, unknown>> {
    const ask = async (agent: Agent): Promise<Record<string, unknown>> => {
      const answer = await agent.execute('guest-exec-status', { pid: this.pid }, { limit: outputLimit });
      if (typeof answer !== 'object' || answer === null)
        throw isleError('guestBroken', { why: 'its agent tells nothing of a process' });
      return answer as Record<string, unknown>;
    };
    return await (this.#agent ? ask(this.#agent) : withAgent(this.#machine, ask));
  }

  async #letGo(): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
    this.#agent = undefined;
  }
}

function resultOf(status: Record<string, unknown>): GuestResult {
  const bytes = (key: string): Buffer =>
    Buffer.from(typeof status[key] === 'string' ? status[key] : '', 'base64');
  const signal = status['signal'];
  const code = status['exitcode'];
  return {
    code: typeof signal === 'number' ? 128 + (signal & 127) : typeof code === 'number' ? code & 255 : 255,
    stdout: bytes('out-data'),
    stderr: bytes('err-data'),
    cut: status['out-truncated'] === true || status['err-truncated'] === true,
  };
}

export function numberIn(answer: unknown, key: string): number {
  const value =
    typeof answer === 'object' && answer !== null ? (answer as Record<string, unknown>)[key] : undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw isleError('guestBroken', { why: `its agent says no ${key}` });
  return value;
}

function explain(error: unknown, { args: [command = ''] }: GuestCommand): unknown {
  if (!isIsleError(error, 'guestFailed')) return error;
  if (/No such file or directory/.test(error.message))
    return isleError('commandNotFound', { command }, error);
  if (/Permission denied/.test(error.message)) return isleError('commandNotExecutable', { command }, error);
  if (/disabled|not been found|not allowed/.test(error.message))
    return isleError(
      'guestFailed',
      {
        what: 'run a command',
        detail: `its agent is not allowed to: ${error.message}. In the guest, take guest-exec off the agent’s list of blocked commands`,
      },
      error,
    );
  return error;
}

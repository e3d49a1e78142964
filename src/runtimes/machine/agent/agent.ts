import { randomInt } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { socketPath } from '../../../host/socket-path.ts';
import { errnoOf, isleError } from '../../../lib/errors.ts';
import type { LiveMachine } from '../live-machine.ts';
import { AgentMessages, smallAnswer, type AgentAnswer } from './messages.ts';

/** A guest as its agent is reached: part of {@link LiveMachine}. */
export type AgentMachine = Pick<LiveMachine, 'id' | 'agentSocket'>;

/**
 * A conversation with the qemu-guest-agent of a machine: one command after the other, nobody else meanwhile. Whoever holds the
 * port in the guest may be hostile: what comes is bounded, and nothing of it is believed without a check.
 */
export interface Agent extends AsyncDisposable {
  /**
   * Throws `guestFailed` with the agent's words when it refuses, `guestUnresponsive` after `patience` milliseconds (default
   * 5,000), `guestGone` when the machine ends. `limit`: bytes of the answer, default 1 MiB.
   */
  execute(command: string, args?: object, options?: { patience?: number; limit?: number }): Promise<unknown>;
  /** For commands that are not answered when they work: resolves after a moment without a refusal. */
  tell(command: string, args: object): Promise<void>;
}

/**
 * Opens it, waiting for others to be done. Throws `guestAgentMissing` when the guest has no agent, `guestUnresponsive` when
 * the agent does not answer within `patience` milliseconds (default 5,000).
 */
export async function openAgent(machine: AgentMachine, { patience = 5000 } = {}): Promise<Agent> {
  const end = performance.now() + patience;
  const path = await machine.agentSocket();
  const connection = new Connection(await connectBy(path, end, patience));
  try {
    await connection.synchronize(Math.max(1, end - performance.now()), patience);
    return connection;
  } catch (error) {
    await connection[Symbol.asyncDispose]();
    throw error;
  }
}

export async function withAgent<T>(
  machine: AgentMachine,
  use: (agent: Agent) => Promise<T>,
  options?: { patience?: number },
): Promise<T> {
  await using agent = await openAgent(machine, options);
  return await use(agent);
}

/** Milliseconds. */
const defaultPatience = 5000;

const mostAnswers = 64;

/** QEMU serves one at a time and lets hardly anybody wait: EAGAIN is its full queue. */
async function connectBy(place: string, end: number, patience: number): Promise<Socket> {
  using found = await socketPath(place, AbortSignal.timeout(patience)).catch((error: unknown) => {
    throw isleError('guestGone', { what: 'its agent’s port is not there' }, error);
  });
  for (;;) {
    const socket = connect({ path: found.path });
    const { promise, resolve } = Promise.withResolvers<unknown>();
    socket.once('connect', () => resolve(undefined)).once('error', resolve);
    const error = await promise;
    if (error === undefined) return socket;
    socket.destroy();
    if (errnoOf(error) !== 'EAGAIN')
      throw isleError('guestGone', { what: 'its agent’s port cannot be reached' }, error);
    if (performance.now() > end)
      throw isleError('guestUnresponsive', { what: 'agent, busy', waited: patience }, error);
    await sleep(20);
  }
}

class Connection implements Agent {
  readonly #socket: Socket;
  readonly #messages = new AgentMessages();
  /** Answers that nobody has taken yet: none but while somebody waits for more than one. */
  #come: AgentAnswer[] = [];
  #waiting: ((answer: AgentAnswer | Error) => void) | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #over: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (error) => this.#end(isleError('guestGone', { what: 'agent' }, error)));
    socket.on('close', () => this.#end(isleError('guestGone', { what: 'agent' })));
  }

  /** An agent may be in the middle of an answer, or of a command of somebody who went: what came before the sync is nobody's. */
  async synchronize(patience: number, waited: number): Promise<void> {
    const id = randomInt(2 ** 31);
    const end = performance.now() + patience;
    this.#send('guest-sync-delimited', { id }, true);
    for (;;) {
      const answer = await this.#answer(Math.max(1, end - performance.now()), 'agent', waited);
      if (answer.delimited && answer.kind === 'return' && answer.value === id) return;
      // One that talks without end is not listened to for longer.
      if (performance.now() > end) throw isleError('guestUnresponsive', { what: 'agent', waited });
    }
  }

  execute: Agent['execute'] = async (
    command,
    args,
    { patience = defaultPatience, limit = smallAnswer } = {},
  ) => {
    return await this.#next(async () => {
      this.#messages.expect(limit);
      this.#send(command, args);
      const answer = await this.#answer(patience, `agent, ${command}`).catch((error: unknown) => {
        // Its late answer would be taken for the next command's.
        this.#socket.destroy();
        throw error;
      });
      if (answer.kind === 'error') throw isleError('guestFailed', { what: command, detail: answer.why });
      return answer.value;
    });
  };

  tell: Agent['tell'] = async (command, args) => {
    await this.#next(async () => {
      this.#send(command, args);
      const silence = sleep(500, undefined);
      const answer = await Promise.race([this.#answer(2000, command).catch(() => undefined), silence]);
      if (answer?.kind === 'error') throw isleError('guestFailed', { what: command, detail: answer.why });
    });
  };

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
  }

  async #next<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return await turn;
  }

  #send(command: string, args: object | undefined, first = false): void {
    this.#come = [];
    const text = JSON.stringify({ execute: command, ...(args && { arguments: args }) });
    // 0xFF makes its parser forget what it has of an unfinished command.
    if (first) this.#socket.write(Buffer.from([0xff]));
    this.#socket.write(`${text}\n`);
  }

  async #answer(patience: number, what: string, waited = patience): Promise<AgentAnswer> {
    const ready = this.#come.shift();
    if (ready) return ready;
    if (this.#over) throw this.#over;
    const { promise, resolve } = Promise.withResolvers<AgentAnswer | Error>();
    const timer = setTimeout(() => resolve(isleError('guestUnresponsive', { what, waited })), patience);
    this.#waiting = resolve;
    try {
      const answer = await promise;
      if (answer instanceof Error) throw answer;
      return answer;
    } finally {
      clearTimeout(timer);
      if (this.#waiting === resolve) this.#waiting = undefined;
    }
  }

  #onData(chunk: Buffer): void {
    try {
      for (const answer of this.#messages.take(chunk)) {
        const waiting = this.#waiting;
        this.#waiting = undefined;
        if (waiting) waiting(answer);
        else if (this.#come.push(answer) > mostAnswers)
          throw isleError('guestBroken', { why: 'its agent answers what nobody asked' });
      }
    } catch (error) {
      this.#end(error as Error);
    }
  }

  #end(error: Error): void {
    this.#over ??= error;
    this.#waiting?.(this.#over);
    this.#socket.destroy();
  }
}

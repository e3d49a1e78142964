import type { Exit } from '../../engine/runtime.ts';
import { isIsleError, isleError, messageOf } from '../../lib/errors.ts';
import { GuestAgent } from './guest/agent.ts';
import type { GuestStats } from './guest/guest-stats.ts';
import { lastLines, readConsole } from './console.ts';
import type { GuestSpec } from './guest-spec.ts';
import type { VmPlace } from './layout.ts';
import { readOutcome } from './outcome.ts';
import { type VmRecord, writeVmRecord } from './record.ts';
import { socketPath } from '../../host/socket-path.ts';

/** Milliseconds for a running guest to greet a daemon that comes back. */
const greetingTime = 20_000;

/** Milliseconds for one that may have been booting when its daemon died. */
const adoptionTime = 5000;

export interface VmOptions {
  id: string;
  place: VmPlace;
  record: VmRecord;
  /** Its container's end. */
  ended: Promise<Exit>;
  /** Connected already. */
  agent?: GuestAgent;
}

/** A microVM that this process knows: its guest's agent, and how it ends. */
export class Vm {
  readonly id: string;
  readonly place: VmPlace;
  readonly record: VmRecord;
  readonly exit: Promise<Exit>;
  paused = false;
  /** It is being killed: by us, for somebody who asked for it. */
  doomed = false;
  /** The last answer, and when it came (milliseconds, monotonic). */
  stats: { at: number; values: GuestStats } | undefined;
  #ended = new AbortController();
  /** By us: nobody has spoken to its guest yet. */
  #booting = false;
  #agent: Promise<GuestAgent> | undefined;
  #saved: Promise<void> = Promise.resolve();

  constructor({ id, place, record, ended, agent }: VmOptions) {
    this.id = id;
    this.place = place;
    this.record = record;
    if (agent) this.#agent = Promise.resolve(agent);
    this.exit = this.#explain(ended);
    this.exit.catch(() => {});
  }

  /** Id of the container that its monitor is confined in. */
  get monitor(): string {
    return this.record.booted?.monitor ?? this.id;
  }

  get over(): boolean {
    return this.#ended.signal.aborted;
  }

  /** Aborted when it ends. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /**
   * Waits for the guest to come up (`onGreeting`) and executes the workload in it. Throws `guestBoot`, or why the program
   * cannot run.
   */
  async boot(spec: GuestSpec, timeout: number, onGreeting: () => void): Promise<void> {
    const begin = performance.now();
    this.#booting = true;
    try {
      const agent = await this.agent(timeout);
      this.#booting = false;
      onGreeting();
      await agent.run(spec, Math.max(1000, Math.round(timeout - (performance.now() - begin))));
    } catch (error) {
      // Its program may have ended, and the guest with it, before we heard that it ran.
      if (this.over && (await readOutcome(this.place)).told) return;
      throw await this.#bootFailure(error, timeout);
    }
  }

  /** The guest's agent, connected when it is first needed. Throws `conflict` when the VM has ended, `guestUnresponsive`. */
  async agent(timeout = greetingTime): Promise<GuestAgent> {
    if (this.over) throw this.#notRunning();
    try {
      return await (this.#agent ?? this.#keepAgent(this.#connect(timeout)));
    } catch (error) {
      throw this.over ? this.#notRunning(error) : error;
    }
  }

  /** For everybody, until the connection ends. */
  #keepAgent(connecting: Promise<GuestAgent>): Promise<GuestAgent> {
    const forget = (): void => {
      if (this.#agent === connecting) this.#agent = undefined;
    };
    this.#agent = connecting;
    connecting.then((agent) => void agent.closed.then(forget), forget);
    return connecting;
  }

  /** Whether the guest had executed the workload before the daemon that told it to could write that down. */
  async runsAlready(): Promise<boolean> {
    try {
      const { welcome } = await this.agent(adoptionTime);
      if (welcome.workload !== 'running') return false;
      await this.save({ phase: 'running', startedAt: new Date().toISOString() });
      return true;
    } catch {
      return false;
    }
  }

  /** Leaves the guest alone. A later need connects again. */
  disconnect(): void {
    const agent = this.#agent;
    this.#agent = undefined;
    agent?.then(
      (connected) => connected.close(),
      () => {},
    );
  }

  async save(changes: Partial<VmRecord>): Promise<void> {
    Object.assign(this.record, changes);
    const saved = this.#saved.then(() => writeVmRecord(this.place.record, this.record));
    this.#saved = saved.catch(() => {}); // Its caller hears of it.
    await saved;
  }

  async #connect(timeout: number): Promise<GuestAgent> {
    const late = AbortSignal.timeout(timeout);
    const signal = AbortSignal.any([this.#ended.signal, late]);
    const begin = performance.now();
    try {
      using socket = await socketPath(this.place.agent, signal);
      const left = Math.max(1, Math.round(timeout - (performance.now() - begin)));
      const agent = await GuestAgent.connect(socket.path, {
        timeout: left,
        signal: this.#ended.signal,
        again: !this.#booting,
      });
      return agent;
    } catch (error) {
      if (late.aborted && !isIsleError(error))
        throw isleError('guestUnresponsive', { what: 'start of QEMU', waited: timeout }, error);
      throw error;
    }
  }

  async #explain(ended: Promise<Exit>): Promise<Exit> {
    const exit = await ended;
    this.#ended.abort(new Error('the microVM has ended'));
    this.disconnect();
    const outcome = await readOutcome(this.place);
    const reason = this.record.reason ?? (this.doomed ? undefined : outcome.reason);
    const oomKilled = exit.oomKilled || outcome.oomKilled;
    return { ...exit, oomKilled, ...(reason === undefined || outcome.told ? {} : { reason }) };
  }

  async #bootFailure(error: unknown, timeout: number): Promise<unknown> {
    if (this.doomed)
      return isleError('conflict', { message: `container ${this.id} was killed while it started` }, error);
    if (isIsleError(error, 'commandNotFound', 'commandNotExecutable', 'invalidParameter')) return error;
    // Its connection may be seen to end before it is.
    if (this.over || (isIsleError(error, 'guestGone') && (await endsWithin(this.exit, 3000)))) {
      const { reason = 'it ended' } = await this.exit;
      return isleError('guestBoot', { why: reason }, error);
    }
    const lines = lastLines(await readConsole(this.place.console), 8).join(' | ');
    const console = lines === '' ? 'its console is silent' : `last lines of its console: ${lines}`;
    const why = isIsleError(error, 'guestUnresponsive')
      ? `its guest did not come up in ${Math.round(timeout / 1000)} s`
      : messageOf(error);
    return isleError('guestBoot', { why: `${why} (${console})` }, error);
  }

  #notRunning(cause?: unknown) {
    return isleError('conflict', { message: `container ${this.id} is not running` }, cause);
  }
}

/** Whether `ended` settles in that many milliseconds. */
export async function endsWithin(ended: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<false>();
  const timer = setTimeout(() => resolve(false), milliseconds);
  try {
    return await Promise.race([ended.then(() => true), promise]);
  } finally {
    clearTimeout(timer);
  }
}

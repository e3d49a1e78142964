import type { Streams, TerminalSize } from '../../../engine/runtime.ts';
import { isleError } from '../../../lib/errors.ts';
import type { GuestProcess, GuestSpec } from '../guest-spec.ts';
import { frameType } from '../protocol.ts';
import { AgentConnection, type ConnectOptions, type Welcome } from './agent-connection.ts';
import { encodeProcess, encodeSpec } from './encode-spec.ts';
import { ExecSession, type GuestExit, type SessionPort } from './exec-session.ts';
import { failureOf } from './failure.ts';
import { encodeFields, numberOf, parseFields, type Fields } from './fields.ts';
import type { Frame } from './frame-codec.ts';
import { parseProcesses, type GuestProcessTable } from './process-table.ts';
import { parseStats, type GuestStats } from './guest-stats.ts';

/** A process in the guest beside the workload's first. */
export interface GuestExec {
  /** In the workload's pid namespace. */
  pid: number;
  streams: Streams;
  /** Rejects with `guestGone` when the connection ends before the process. */
  exit: Promise<GuestExit>;
  resize(size: TerminalSize): Promise<void>;
  signal(signal: number): Promise<void>;
}

/** Milliseconds a guest has for a small answer. Twenty guests may share two emulated processors. */
const answerTime = 20_000;
/** Milliseconds for mounting the root and executing the program. */
const runTime = 60_000;
const lastSession = 0xffff_ffff;
const sigkill = 9;

type Pending = { what: string; resolve(fields: Fields): void; reject(error: Error): void };

/**
 * The daemon's end of a guest's agent port. Every request is limited in time (`guestUnresponsive`); when the connection
 * ends, what waits fails with `guestGone`, and a guest that breaks the protocol is given up (`guestBroken`).
 */
export class GuestAgent {
  #connection: AgentConnection;
  #pending = new Map<number, Pending>();
  #execs = new Map<number, ExecSession>();
  /** Execs that were given up before they started. */
  #unwanted = new Set<number>();
  #lastSession = 0;
  #gone: Error | undefined;

  /**
   * Connects to the UNIX socket `path`, waiting for it to appear, for the guest to boot and to answer.
   * Throws `guestUnresponsive` after `timeout` milliseconds, `guestGone`, `guestBroken`, or the signal's reason.
   */
  static async connect(path: string, options: ConnectOptions): Promise<GuestAgent> {
    return new GuestAgent(await AgentConnection.open(path, options));
  }

  private constructor(connection: AgentConnection) {
    this.#connection = connection;
    connection.onFrame = (frame) => this.#dispatch(frame);
    void connection.closed.then((why) => this.#fail(why ?? isleError('guestGone', { what: 'closed' })));
  }

  get welcome(): Welcome {
    return this.#connection.welcome;
  }

  /** Resolves, never rejects: with why the connection ended, or undefined after {@link close}. */
  get closed(): Promise<Error | undefined> {
    return this.#connection.closed;
  }

  /** Leaves the guest: sessions that are not detached are hung up, the workload runs on. */
  close(): void {
    this.#connection.close();
  }

  /**
   * Starts the workload; resolves when its program was executed. Throws `commandNotFound`, `commandNotExecutable`,
   * `guestFailed` (another step), `invalidParameter` (a value that cannot be sent).
   */
  async run(spec: GuestSpec, timeout = runTime): Promise<void> {
    await this.#request('run', frameType.run, encodeSpec(spec), timeout);
  }

  /** Runs another process in the workload's namespaces. Throws as {@link run}, and `guestFailed` when nothing runs. */
  async exec(
    process: GuestProcess,
    { detached = false, timeout = answerTime }: { detached?: boolean; timeout?: number } = {},
  ): Promise<GuestExec> {
    const payload = encodeProcess(process, detached);
    const session = this.#newSession();
    const exec = new ExecSession(this.#port(session), process.stdin);
    this.#execs.set(session, exec);
    try {
      const started = await this.#answer(session, 'exec', timeout, () =>
        this.#connection.send(frameType.exec, session, payload),
      );
      return {
        pid: numberOf(started, 'pid'),
        streams: exec.streams,
        exit: exec.exit,
        resize: (size) => this.resize(size, session),
        signal: (signal) => this.signal(signal, session),
      };
    } catch (error) {
      this.#execs.delete(session);
      exec.streams.close();
      throw error;
    }
  }

  /** Signals an exec's process, or the workload's first when `session` is absent. Throws `guestFailed`. */
  async signal(signal: number, session?: number): Promise<void> {
    await this.#ask('signal', frameType.signal, [['signal', String(signal)], ...sessionField(session)]);
  }

  /** Sets the size of an exec's terminal, or of the workload's. Throws `guestFailed` where there is none. */
  async resize({ columns, rows }: TerminalSize, session?: number): Promise<void> {
    const size: Fields = [
      ['columns', String(columns)],
      ['rows', String(rows)],
    ];
    await this.#ask('resize', frameType.resize, [...size, ...sessionField(session)]);
  }

  async stats(): Promise<GuestStats> {
    return parseStats(await this.#ask('stats', frameType.stats, []));
  }

  /** The workload's processes with the columns of `ps -ef`. */
  async processes(): Promise<GuestProcessTable> {
    return parseProcesses(await this.#ask('processes', frameType.processes, []));
  }

  /** Sets the guest's clock: nanoseconds since 1970. */
  async clock(time: bigint): Promise<void> {
    await this.#ask('clock', frameType.clock, [['time', String(time)]]);
  }

  /** Mixes hexadecimal `seed` into the guest's random pool, as after a pause or a copy. */
  async reseed(seed: string): Promise<void> {
    await this.#ask('reseed', frameType.reseed, [['seed', seed]]);
  }

  /** Sends the workload SIGTERM, and lets the guest end when it has. Nothing is waited for: the VM ends. */
  powerOff(): void {
    this.#connection.send(frameType.powerOff, this.#newSession());
  }

  async #ask(what: string, type: number, fields: Fields): Promise<Fields> {
    return await this.#request(what, type, encodeFields(fields), answerTime);
  }

  async #request(what: string, type: number, payload: Buffer, timeout: number): Promise<Fields> {
    const session = this.#newSession();
    return await this.#answer(session, what, timeout, () => this.#connection.send(type, session, payload));
  }

  async #answer(session: number, what: string, timeout: number, send: () => void): Promise<Fields> {
    const { promise, resolve, reject } = Promise.withResolvers<Fields>();
    this.#pending.set(session, { what, resolve, reject });
    const timer = setTimeout(() => {
      this.#unwanted.add(session);
      reject(isleError('guestUnresponsive', { what, waited: timeout }));
    }, timeout);
    try {
      if (this.#gone) throw this.#gone;
      send();
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(session);
    }
  }

  /** Silent once the session has ended: its streams close after it. */
  #port(session: number): SessionPort {
    return {
      send: (type, payload) => {
        if (this.#execs.has(session)) this.#connection.send(type, session, payload);
      },
    };
  }

  #newSession(): number {
    if (this.#lastSession === lastSession)
      throw isleError('internal', { message: 'no session number is left' });
    return ++this.#lastSession;
  }

  #dispatch({ type, session, payload }: Frame): void {
    switch (type) {
      case frameType.done:
      case frameType.started:
        return this.#answered(session, type, payload);
      case frameType.failed:
        return this.#refused(session, payload);
      case frameType.exit:
        return this.#exited(session, payload);
      case frameType.stdout:
        return this.#execs.get(session)?.output('stdout', payload);
      case frameType.stderr:
        return this.#execs.get(session)?.output('stderr', payload);
      case frameType.stdinCredit:
        return this.#execs.get(session)?.stdinCredit(creditOf(payload));
      default:
      // A second welcome, when the guest was slow to answer the first hello; or a newer guest.
    }
  }

  #answered(session: number, type: number, payload: Buffer): void {
    if (this.#unwanted.delete(session) && type === frameType.started)
      this.#connection.send(
        frameType.signal,
        this.#newSession(),
        encodeFields([['signal', String(sigkill)], ...sessionField(session)]),
      );
    // Only an exec starts; anything else is done.
    if (this.#execs.has(session) !== (type === frameType.started)) return;
    this.#pending.get(session)?.resolve(parseFields(payload));
  }

  #refused(session: number, payload: Buffer): void {
    this.#unwanted.delete(session);
    const pending = this.#pending.get(session);
    pending?.reject(failureOf(pending.what, parseFields(payload)));
  }

  #exited(session: number, payload: Buffer): void {
    const exec = this.#execs.get(session);
    if (!exec) return;
    const fields = parseFields(payload);
    this.#execs.delete(session);
    exec.ended({ code: numberOf(fields, 'code') & 0xff, oomKilled: numberOf(fields, 'oom') === 1 });
  }

  #fail(why: Error): void {
    this.#gone = why;
    for (const { reject } of this.#pending.values()) reject(why);
    for (const exec of this.#execs.values()) exec.failed(why);
    this.#pending.clear();
    this.#execs.clear();
  }
}

function sessionField(session: number | undefined): Fields {
  return session === undefined ? [] : [['session', String(session)]];
}

function creditOf(payload: Buffer): number {
  if (payload.length !== 4) throw isleError('guestBroken', { why: 'a credit has no number' });
  return payload.readUInt32LE(0);
}

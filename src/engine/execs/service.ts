import { isleError, isIsleError, messageOf } from '../../lib/errors.ts';
import { newId } from '../../lib/ids.ts';
import type { Table } from '../../lib/table.ts';
import { publishContainer } from '../containers/events.ts';
import { requireRunning } from '../containers/records.ts';
import type { EngineContext } from '../context.ts';
import type { ExecOptions, ExecRecord, Execs } from '../engine.ts';
import type { ExecSession, TerminalSize } from '../runtime.ts';

/** How many ended execs of one container can still be asked for their exit code. */
const keptEnded = 64;
/** How many that were never started one container may have: nobody has so many about to start. */
const mostUnstarted = 1000;

interface Entry {
  record: ExecRecord;
  session?: ExecSession;
  size?: TerminalSize;
}

/**
 * Processes run beside the first one. What has ended can be asked for its exit code after a restart of the daemon too;
 * what ran at that moment is forgotten.
 */
export class ExecService implements Execs {
  #ctx: EngineContext;
  #entries = new Map<string, Entry>();
  #ended: Table<ExecRecord>;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
    this.#ended = ctx.store.table<ExecRecord>('execs');
    for (const record of this.#ended.all()) {
      if (ctx.records.get(record.containerId)) this.#entries.set(record.id, { record });
      else this.#ended.delete(record.id);
    }
  }

  async create(reference: string, options: ExecOptions): Promise<string> {
    const container = requireRunning(this.#ctx.records, reference);
    const [command] = options.args;
    if (command === undefined || command === '')
      throw isleError('invalidParameter', { message: 'No exec command specified' });
    this.#checkUnstarted(container.id);
    this.#ctx.runtimeOf(container).anticipate?.();
    const id = newId();
    const record: ExecRecord = {
      ...options,
      id,
      containerId: container.id,
      running: false,
      exitCode: null,
      pid: 0,
    };
    this.#entries.set(id, { record, size: options.size });
    this.#publish(record, `exec_create: ${options.args.join(' ')}`);
    this.#dropEnded(container.id);
    return id;
  }

  get(id: string): ExecRecord {
    return this.#entry(id).record;
  }

  /** Ids of the container's execs, as `inspect` lists them. */
  of(containerId: string): string[] {
    return [...this.#entries.values()]
      .filter(({ record }) => record.containerId === containerId && record.running)
      .map(({ record }) => record.id);
  }

  async start(
    id: string,
    options: { detach: boolean; tty: boolean; size?: TerminalSize },
  ): Promise<ExecSession | undefined> {
    const entry = this.#entry(id);
    const { record } = entry;
    if (record.running) throw isleError('conflict', { message: `exec ${id} is already running` });
    if (record.exitCode !== null) throw isleError('conflict', { message: `exec ${id} has already run` });
    const container = requireRunning(this.#ctx.records, record.containerId);
    entry.record = { ...record, running: true };
    try {
      const session = await this.#ctx.runtimeOf(container).exec(container.id, {
        id,
        args: record.args,
        env: mergeEnv(container.process.env, record),
        cwd: record.cwd || container.process.cwd,
        user: record.user || container.process.user,
        tty: record.tty,
        stdin: record.attachStdin && !options.detach,
        privileged: record.privileged,
        detached: options.detach,
        size: options.size ?? entry.size,
      });
      entry.session = session;
      entry.record = { ...entry.record, pid: session.pid };
      this.#publish(record, `exec_start: ${record.args.join(' ')}`);
      this.#watch(entry, session);
      return options.detach ? drain(session) : session;
    } catch (error) {
      this.#end(entry, exitCodeOf(error));
      throw error;
    }
  }

  async resize(id: string, size: TerminalSize): Promise<void> {
    const entry = this.#entry(id);
    entry.size = size;
    if (entry.session && entry.record.running) await entry.session.resize(size);
  }

  /** The container has ended: what was not started by now never can be. */
  dropUnstarted(containerId: string): void {
    for (const [id, { record }] of this.#entries)
      if (record.containerId === containerId && isUnstarted(record)) this.#entries.delete(id);
  }

  /** The container is gone: so are its execs. */
  forget(containerId: string): void {
    for (const [id, { record }] of this.#entries) if (record.containerId === containerId) this.#drop(id);
  }

  #watch(entry: Entry, session: ExecSession): void {
    session.exit.then(
      ({ code }) => {
        this.#end(entry, code);
        entry.session = undefined;
        this.#publish(entry.record, 'exec_die', { exitCode: String(code) });
      },
      (error: unknown) => {
        this.#end(entry, 255);
        this.#ctx.log.error({ exec: entry.record.id, err: error }, `exec: ${messageOf(error)}`);
      },
    );
  }

  #end(entry: Entry, exitCode: number): void {
    entry.record = { ...entry.record, running: false, exitCode, pid: 0 };
    // Nobody asks for its environment any more, which may hold secrets. The container may be gone already.
    if (!this.#entries.has(entry.record.id)) return;
    try {
      this.#ended.put(entry.record.id, { ...entry.record, env: [] });
    } catch (error) {
      this.#ctx.log.warn({ exec: entry.record.id, err: error }, `keeping an exit code: ${messageOf(error)}`);
    }
  }

  #drop(id: string): void {
    this.#entries.delete(id);
    this.#ended.delete(id);
  }

  #entry(id: string): Entry {
    const exact = this.#entries.get(id);
    if (exact) return exact;
    const found = id.length >= 12 ? [...this.#entries].filter(([key]) => key.startsWith(id)) : [];
    if (found.length !== 1) throw isleError('noSuchExec', { id });
    return found[0]![1];
  }

  #publish(record: ExecRecord, action: string, more: Record<string, string> = {}): void {
    const container = this.#ctx.records.get(record.containerId);
    if (container) publishContainer(this.#ctx, container, action, { execID: record.id, ...more });
  }

  #checkUnstarted(containerId: string): void {
    let count = 0;
    for (const { record } of this.#entries.values())
      if (record.containerId === containerId && isUnstarted(record)) count++;
    if (count < mostUnstarted) return;
    const message = `container ${containerId} has ${count} execs that were created and never started: start them, or restart the container`;
    throw isleError('conflict', { message });
  }

  #dropEnded(containerId: string): void {
    const ended = [...this.#entries].filter(
      ([, { record }]) => record.containerId === containerId && record.exitCode !== null,
    );
    for (const [id] of ended.slice(0, -keptEnded)) this.#drop(id);
  }
}

function isUnstarted({ running, exitCode }: ExecRecord): boolean {
  return !running && exitCode === null;
}

/** Nobody reads: output is dropped so that the process does not block on it. */
function drain({ streams }: ExecSession): undefined {
  streams.stdout.resume();
  streams.stderr.resume();
  return undefined;
}

function mergeEnv(container: string[], { env, tty }: ExecRecord): string[] {
  const merged = new Map(container.map((entry) => [entry.split('=', 1)[0], entry]));
  if (tty && !merged.has('TERM')) merged.set('TERM', 'TERM=xterm');
  for (const entry of env) {
    if (entry.includes('=')) merged.set(entry.split('=', 1)[0], entry);
    else merged.delete(entry);
  }
  return [...merged.values()];
}

function exitCodeOf(error: unknown): number {
  if (isIsleError(error, 'commandNotFound')) return 127;
  if (isIsleError(error, 'commandNotExecutable', 'invalidParameter')) return 126;
  return 128;
}

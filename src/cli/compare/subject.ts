import { messageOf } from '../../lib/errors.ts';
import { ApiError } from '../client/errors.ts';
import { Failure } from '../failure.ts';
import { type Bench, interrupted, NotCreated } from './bench.ts';
import { monitorsOf } from './footprint.ts';
import type { Isolation } from './isolations.ts';
import type { ProbeBox } from './probe-box.ts';
import type { Disk, IsolationReport, Memory, Probes, Times } from './report.ts';
import { type Summary, summarize, type Unit } from './samples.ts';
import { type HostFacts, sharingOf } from './sharing.ts';
import type { RunOptions, RunTimes } from './timed-run.ts';

/** Runs that a median needs, and milliseconds after which they must do: nobody waits minutes for a slow isolation. */
const fewest = 3;
const budget = 12_000;

/** Everything that is known of one isolation while it is measured. */
export class Subject {
  readonly isolation: Isolation;
  box: ProbeBox | undefined;
  #first: RunTimes | undefined;
  readonly #runs: RunTimes[] = [];
  #reason: string | undefined;
  #exists = true;
  /** Milliseconds in runs of the workload. */
  #spent = 0;
  readonly #notes: string[] = [];

  constructor(isolation: Isolation) {
    this.isolation = isolation;
  }

  /** False once a container of this isolation could not even be created. */
  get exists(): boolean {
    return this.#exists;
  }

  /** False once the workload has failed in it. */
  get works(): boolean {
    return this.#exists && this.#reason === undefined;
  }

  /** Whether the workload ends by itself; undefined while that is not known. */
  get oneShot(): boolean | undefined {
    return this.#first && this.#first.ended !== undefined;
  }

  /** Its first run neither printed anything, nor opened its port, nor ended. */
  get silent(): boolean {
    const first = this.#first;
    return first !== undefined && (first.firstOutput ?? first.listening ?? first.ended) === undefined;
  }

  /** What later runs need not find out again. */
  get known(): Pick<RunOptions, 'oneShot' | 'kill'> {
    const kill = this.#first?.ignoredStop;
    return { ...(this.#first && { oneShot: this.oneShot === true }), ...(kill && { kill }) };
  }

  /** Whether it was run as often as asked for, or often enough for what a run takes. */
  isEnough(runs: number): boolean {
    const count = this.#runs.length;
    return count >= runs || (count >= fewest && this.#spent >= budget);
  }

  /** Runs the workload; what goes wrong is a result, unless the user gave up. */
  async attempt(bench: Bench, work: () => Promise<void>): Promise<void> {
    const from = performance.now();
    const failure = await failureOf(bench, work);
    this.#spent += performance.now() - from;
    if (!failure) return;
    if (failure instanceof NotCreated) this.#exists = false;
    this.#reason ??= oneLine(failure);
  }

  /** Probes; where that fails, numbers are missing, but the workload runs all the same. */
  async attemptProbe(bench: Bench, what: string, work: () => Promise<void>): Promise<void> {
    const failure = await failureOf(bench, work);
    if (!failure) return;
    if (failure instanceof NotCreated) this.#exists = false;
    // The reason why nothing works in it is known already.
    if (this.#reason === undefined) this.#notes.push(`${what} failed: ${oneLine(failure)}`);
  }

  take(times: RunTimes, first: boolean): void {
    if (first) this.#first = times;
    else this.#runs.push(times);
    if (!first && this.#first?.ended === undefined && times.ended !== undefined)
      throw new Failure(`the workload ended by itself in a later run${lastWords(times)}`);
    if (first && (times.exitCode ?? 0) !== 0) this.#notes.push(endOf(times));
  }

  /** What ended with an error has failed. */
  expectSuccess(): void {
    if (!this.#first || (this.exitCode ?? 0) === 0) return;
    this.#notes.length = 0;
    this.#reason ??= endOf(this.#first);
  }

  /** The exit code of the first run, where it ended by itself. */
  get exitCode(): number | undefined {
    return this.#first?.exitCode;
  }

  note(text: string): void {
    this.#notes.push(text);
  }

  report(host: HostFacts): IsolationReport {
    const { box } = this;
    const memory = this.#memory();
    const disk = this.#disk();
    const reason = this.#reason;
    return {
      isolation: this.isolation.name,
      state: this.#state(),
      ...(reason !== undefined && { reason }),
      notes: this.#notes,
      times: this.#times(),
      ...(memory && { memory }),
      ...(disk && { disk }),
      probes: this.#probes(),
      ...(box && { sharing: sharingOf(box.facts, host, box.footprint) }),
    };
  }

  /** Where nothing ran at all, neither the workload nor a placeholder, it is the isolation that is not to be had. */
  #state(): IsolationReport['state'] {
    if (!this.#exists || (!this.#first && !this.box)) return 'unavailable';
    return this.#reason === undefined ? 'measured' : 'failed';
  }

  #times(): Times {
    const of = (key: 'started' | 'firstOutput' | 'listening' | 'ended' | 'booted' | 'stop') =>
      this.#summary('ms', (run) => run[key]);
    const first = this.#first;
    const cold = first?.firstOutput ?? first?.listening ?? first?.started;
    return present({
      cold,
      started: of('started'),
      firstOutput: of('firstOutput'),
      listening: of('listening'),
      ended: of('ended'),
      healthy: first?.healthy,
      booted: of('booted'),
      stop: of('stop'),
      ignoresStop: first?.ignoredStop,
      // The first one finds nothing prepared.
      exec: summarize('ms', this.box?.execTimes.slice(1) ?? []),
    });
  }

  #memory(): Memory | undefined {
    const footprints = this.#runs.map((run) => run.footprint).filter((one) => one !== undefined);
    const box = this.box?.footprint;
    const seen = footprints.length > 0 ? footprints : box ? [box] : [];
    const total = summarize(
      'B',
      seen.map(({ memory, swapped }) => memory + swapped),
    );
    const last = seen.at(-1);
    if (!total || !last) return undefined;
    return {
      total,
      guest: last.guestMemory,
      monitors: monitorsOf(last),
      of: footprints.length > 0 ? 'workload' : 'placeholder',
    };
  }

  #disk(): Disk | undefined {
    const last = this.#runs.at(-1) ?? this.#first;
    if (!last) return undefined;
    return { own: last.writable, prepared: (this.box?.footprint ?? last.footprint)?.prepared ?? [] };
  }

  #probes(): Probes {
    const { box } = this;
    if (!box) return {};
    const summaries = Object.entries(units).map(([name, unit]) => [
      name,
      summarize(unit, box.results[name as keyof Probes]),
    ]);
    return present(Object.fromEntries(summaries) as Probes);
  }

  #summary(unit: Unit, value: (run: RunTimes) => number | undefined): Summary | undefined {
    return summarize(
      unit,
      this.#runs.map(value).filter((one) => one !== undefined),
    );
  }
}

/** What the engine or a measurement said; other errors are bugs and are thrown. */
async function failureOf(bench: Bench, work: () => Promise<void>): Promise<ApiError | Failure | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (bench.signal.aborted) throw interrupted();
    if (error instanceof ApiError || error instanceof Failure) return error;
    throw error;
  }
}

function oneLine(error: Error): string {
  return messageOf(error)
    .trim()
    .replace(/\s*\n\s*/g, ': ');
}

function endOf(times: RunTimes): string {
  return `the workload ended with exit code ${times.exitCode}${lastWords(times)}`;
}

function lastWords({ lastLine }: RunTimes): string {
  return lastLine === '' ? '' : `: ${lastLine}`;
}

const units: Record<keyof Probes, Unit> = {
  cpu: 'B/s',
  fileWrite: 'B/s',
  fileRead: 'B/s',
  smallFiles: '1/s',
  netSend: 'B/s',
  netReceive: 'B/s',
  netRoundTrips: '1/s',
  systemCall: 'ns',
  fork: 'ns',
};

/** Without what is not known. */
function present<T extends object>(given: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T;
}

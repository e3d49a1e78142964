import type { ProgressLine } from '../client/types.ts';
import { formatBytes } from '../../lib/units.ts';
import type { Output } from './output.ts';
import { harmless } from './paint.ts';
import { cut, displayWidth } from './table.ts';

export interface ProgressView {
  update(line: ProgressLine): void;
  /** Leaves the last state on the screen. */
  end(): void;
}

/** Bars that are redrawn in place on a terminal; plain lines, one for each change of state, elsewhere. */
export function progressView(output: Output, now = () => performance.now()): ProgressView {
  return output.isTerminal && process.env.TERM !== 'dumb'
    ? new LiveBars(output, now)
    : new PlainLines(output);
}

class PlainLines implements ProgressView {
  readonly #output: Output;
  readonly #last = new Map<string, string>();

  constructor(output: Output) {
    this.#output = output;
  }

  update({ id, status, stream }: ProgressLine): void {
    if (stream !== undefined) this.#output.write(stream.endsWith('\n') ? stream : `${stream}\n`);
    if (status === undefined) return;
    if (id !== undefined) {
      if (this.#last.get(id) === status) return;
      this.#last.set(id, status);
    }
    this.#output.line(harmless(id === undefined ? status : `${id}: ${status}`));
  }

  end(): void {}
}

interface Bar {
  id: string;
  status: string;
  current: number;
  total: number;
  /** When bytes began to flow, for the rate. */
  since: number;
  from: number;
  done: boolean;
}

const frameTime = 80;
const finished =
  /^(Pull complete|Already exists|Pushed|Layer already exists|Mounted from|Download complete|done$)/;

class LiveBars implements ProgressView {
  readonly #output: Output;
  readonly #now: () => number;
  readonly #bars = new Map<string, Bar>();
  #drawn = 0;
  #lastFrame = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(output: Output, now: () => number) {
    this.#output = output;
    this.#now = now;
  }

  update(line: ProgressLine): void {
    const { id, status, progressDetail: detail } = line;
    if (line.stream !== undefined) return this.#say(line.stream.trimEnd());
    if (status === undefined) return;
    if (id === undefined || /^Pulling from/.test(status)) {
      return this.#say(id === undefined ? status : `${id}: ${status}`);
    }
    const known = this.#bars.get(id);
    const bar = known ?? { id, status, current: 0, total: 0, since: this.#now(), from: 0, done: false };
    if (!known) this.#bars.set(id, bar);
    const current = detail?.current ?? 0;
    if (status !== bar.status || current < bar.current) {
      bar.since = this.#now();
      bar.from = current;
    }
    bar.status = status;
    bar.current = current;
    bar.total = detail?.total ?? 0;
    bar.done = finished.test(status);
    this.#schedule();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#draw();
    this.#drawn = 0;
    this.#bars.clear();
  }

  /** A line of its own: above the bars, or below them once all are done. */
  #say(text: string): void {
    if ([...this.#bars.values()].every(({ done }) => done)) this.end();
    this.#erase();
    this.#output.line(harmless(text));
    this.#draw();
  }

  #schedule(): void {
    const wait = this.#lastFrame + frameTime - this.#now();
    if (wait <= 0) this.#draw();
    else this.#timer ??= setTimeout(() => this.#draw(), wait).unref();
  }

  #erase(): void {
    if (this.#drawn > 0) this.#output.write(`\x1b[${this.#drawn}A\x1b[0J`);
    this.#drawn = 0;
  }

  #draw(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#lastFrame = this.#now();
    const rows = Math.max(3, (this.#output.stream.rows || 24) - 2);
    let bars = [...this.#bars.values()];
    // More layers than lines: those under way matter.
    const hidden = bars.length - rows;
    if (hidden > 0)
      bars = [...bars.filter((bar) => !bar.done), ...bars.filter((bar) => bar.done)].slice(0, rows);
    const lines = bars.map((bar) => this.#line(bar));
    if (hidden > 0) lines.push(this.#output.paint.dim(`… and ${hidden} more`));
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    this.#output.write(
      up + lines.map((line) => `\x1b[2K${line}\n`).join('') + (lines.length < this.#drawn ? '\x1b[0J' : ''),
    );
    this.#drawn = lines.length;
  }

  /** Never wider than the terminal: a wrapped line would be two when the cursor goes up again. */
  #line(bar: Bar): string {
    const { paint } = this.#output;
    let room = (this.#output.columns ?? 80) - 1;
    let line = '';
    const add = (text: string, style: (text: string) => string = String) => {
      const width = displayWidth(text);
      if (width > room) return;
      room -= width;
      line += style(text);
    };
    add(`${cut(harmless(bar.id), 12).padEnd(12)} `, paint.dim);
    add(cut(harmless(bar.status), Math.min(20, room)), bar.done ? paint.green : paint.cyan);
    if (bar.done || (bar.current === 0 && bar.total === 0)) return line;
    add(' '.repeat(Math.max(1, 21 - displayWidth(bar.status))));
    const total = bar.total > 0 ? ` / ${formatBytes(bar.total)}` : '';
    const amount = `${formatBytes(bar.current)}${total}`.padEnd(18);
    const seconds = (this.#now() - bar.since) / 1000;
    const rate = seconds > 0.5 ? ` ${formatBytes((bar.current - bar.from) / seconds)}/s` : '';
    const gauge = Math.min(40, room - amount.length - 12 - 3);
    if (bar.total > 0 && gauge >= 8) add(`${drawGauge(bar.current / bar.total, gauge)} `);
    add(amount);
    add(rate, paint.dim);
    return line;
  }
}

const eighths = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

function drawGauge(part: number, width: number): string {
  const filled = Math.max(0, Math.min(1, part)) * width;
  const whole = Math.floor(filled);
  const rest = whole < width ? (eighths[Math.floor((filled - whole) * 8)] ?? ' ') : '';
  return `▕${'█'.repeat(whole)}${rest}${' '.repeat(Math.max(0, width - whole - 1))}▏`;
}

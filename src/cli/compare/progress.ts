import { harmless } from '../terminal/paint.ts';
import type { Output } from '../terminal/output.ts';
import { cut, displayWidth } from '../terminal/table.ts';

/** How far a comparison is: one line that is redrawn on a terminal, one line for each phase elsewhere. */
export class Progress {
  readonly #output: Output;
  readonly #live: boolean;
  #phase = '';
  #done = 0;
  #total: number;
  #drawn = false;

  constructor(output: Output, total: number) {
    this.#output = output;
    this.#live = output.isTerminal && process.env.TERM !== 'dumb';
    this.#total = total;
  }

  /** What is being done from now on. */
  phase(text: string): void {
    this.#phase = text;
    if (this.#live) this.#draw('');
    else this.#output.line(`isle: ${harmless(text)}`);
  }

  /** One of the steps begins; `text` says which. */
  step(text: string): void {
    this.#done++;
    if (this.#live) this.#draw(text);
  }

  /** Steps that will not be taken. */
  skip(steps: number): void {
    this.#total -= steps;
  }

  end(): void {
    if (this.#drawn) this.#output.write('\r\x1b[2K');
    this.#drawn = false;
  }

  #draw(text: string): void {
    const { paint } = this.#output;
    const room = (this.#output.columns ?? 80) - 1;
    const part = Math.min(1, this.#done / Math.max(1, this.#total));
    const width = Math.min(20, Math.floor(room / 4));
    const filled = Math.round(part * width);
    const gauge = `${'━'.repeat(filled)}${'╌'.repeat(width - filled)}`;
    const words = cut(harmless(text === '' ? this.#phase : `${this.#phase}: ${text}`), room - width - 1);
    const shown = displayWidth(words) > 0 ? ` ${words}` : '';
    this.#output.write(`\r\x1b[2K${paint.cyan(gauge)}${shown}`);
    this.#drawn = true;
  }
}

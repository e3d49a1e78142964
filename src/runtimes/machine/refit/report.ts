/** What the helper says of its work. Its guest is a stranger's: nothing is believed but that it is one of these words. */
export interface RefitReport {
  done: boolean;
  /** Why not. */
  why?: string;
  /** Files of the guest. */
  changed: string[];
}

/** Reads lines as they come; `onStep` is told what is done now. */
export class ReportReader {
  readonly #report: RefitReport = { done: false, changed: [] };
  readonly #onStep: (step: string) => void;
  #rest = '';

  constructor(onStep: (step: string) => void) {
    this.#onStep = onStep;
  }

  push(text: string): void {
    const lines = (this.#rest + text).split(/\r?\n/);
    this.#rest = (lines.pop() ?? '').slice(-1000);
    for (const line of lines) this.#line(line);
  }

  get report(): RefitReport {
    return this.#report;
  }

  #line(line: string): void {
    const match = /^isle:(STEP|CHANGED|CANNOT|DONE)(?: (.*))?$/.exec(line);
    if (!match) return;
    const text = printable(match[2] ?? '');
    switch (match[1]) {
      case 'STEP':
        this.#onStep(text);
        return;
      case 'CHANGED':
        if (text.startsWith('/') && this.#report.changed.length < 100) this.#report.changed.push(text);
        return;
      case 'CANNOT':
        this.#report.why ??= text;
        return;
      case 'DONE':
        this.#report.done = this.#report.why === undefined;
    }
  }
}

function printable(text: string): string {
  return text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 300);
}

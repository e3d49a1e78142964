import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { errnoOf } from '../../lib/errors.ts';
import { harmless, type Paint, painter } from './paint.ts';

/**
 * One of stdout and stderr. Writes go straight to the descriptor while it takes them: loading Node's own stream
 * object costs more than most commands do.
 */
export class Output {
  readonly fd: 1 | 2;
  readonly isTerminal: boolean;
  readonly paint: Paint;
  /** Exit code when whoever reads goes away. Docker's for a container's own output is 1. */
  unreadCode = 0;
  #stream: NodeJS.WriteStream | undefined;

  constructor(fd: 1 | 2, color: ColorMode, env: NodeJS.ProcessEnv) {
    this.fd = fd;
    this.isTerminal = isatty(fd);
    this.paint = painter(wantsColor(color, this.isTerminal, env));
  }

  /** Node's stream, for pipelines; from then on everything goes through it. */
  get stream(): NodeJS.WriteStream {
    if (!this.#stream) {
      this.#stream = this.fd === 1 ? process.stdout : process.stderr;
      this.#stream.on('error', (error) => {
        if (errnoOf(error) === 'EPIPE') process.exit(this.fd === 1 ? this.unreadCode : 1);
        throw error;
      });
    }
    return this.#stream;
  }

  /** Columns of the terminal; undefined when it is none. */
  get columns(): number | undefined {
    if (!this.isTerminal) return undefined;
    return this.stream.columns || Number(process.env.COLUMNS) || 80;
  }

  write(text: string | Uint8Array): void {
    if (this.#stream) {
      this.#stream.write(text);
      return;
    }
    let data = typeof text === 'string' ? Buffer.from(text) : text;
    try {
      while (data.length > 0) data = data.subarray(writeSync(this.fd, data));
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'EPIPE') process.exit(this.unreadCode);
      if (code !== 'EAGAIN') throw error;
      this.stream.write(data);
    }
  }

  /** Resolves when what was written has left, so that a slow reader slows down its source. */
  async drained(): Promise<void> {
    const stream = this.#stream;
    if (stream?.writableNeedDrain) await new Promise<void>((resolve) => stream.once('drain', resolve));
  }

  /** Lines whose content others chose (labels, messages): on a terminal without control characters. */
  foreign(text: string): void {
    this.line(this.isTerminal ? text.replace(/[^\n\t]+/g, harmless) : text);
  }

  line(text = ''): void {
    this.write(`${text}\n`);
  }
}

export type ColorMode = 'auto' | 'always' | 'never';

/** https://no-color.org: NO_COLOR of any value but the empty one switches colours off; `--color` overrules it. */
export function wantsColor(mode: ColorMode, isTerminal: boolean, env: NodeJS.ProcessEnv): boolean {
  if (mode !== 'auto') return mode === 'always';
  if (env.NO_COLOR || env.TERM === 'dumb') return false;
  return isTerminal || Boolean(env.CLICOLOR_FORCE && env.CLICOLOR_FORCE !== '0');
}

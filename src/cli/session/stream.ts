import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { ReadStream } from 'node:fs';
import type { Hijacked } from '../client/client.ts';
import type { Context } from '../context.ts';
import { errnoOf } from '../../lib/errors.ts';
import { Demultiplexer } from './demultiplex.ts';
import { DetachKeys } from './detach-keys.ts';

export interface StreamOptions {
  /** The other end is a terminal: output is unframed. */
  tty: boolean;
  /** Pass stdin on. */
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Sequences that leave; an empty one is none. Looked for only on a terminal. */
  detachKeys: readonly (readonly number[])[];
}

export type StreamEnd = 'ended' | 'detached';

/**
 * Carries stdin, stdout and stderr over a hijacked connection until the other end closes it, the detach keys
 * are typed, or `detach` is called. A terminal is put into raw mode meanwhile and always set back.
 */
export class StreamSession {
  readonly #context: Context;
  readonly #socket: Hijacked['socket'];
  readonly #options: StreamOptions;
  readonly #restore: (() => void)[] = [];
  #end!: (end: StreamEnd) => void;
  readonly #ended = new Promise<StreamEnd>((resolve) => {
    this.#end = resolve;
  });

  constructor(context: Context, { socket }: Hijacked, options: StreamOptions) {
    this.#context = context;
    this.#socket = socket;
    this.#options = options;
    context.out.unreadCode = 1;
  }

  /** True when keys typed here go to the container as they are. */
  static isRaw(options: { tty: boolean; stdin: boolean }): boolean {
    return options.tty && options.stdin && process.stdin.isTTY;
  }

  async run(): Promise<StreamEnd> {
    try {
      const output = this.#copyOutput();
      if (this.#options.stdin) this.#copyInput();
      return await Promise.race([output, this.#ended]);
    } finally {
      this.close();
    }
  }

  detach(): void {
    this.#end('detached');
  }

  close(): void {
    for (const restore of this.#restore.splice(0)) restore();
    this.#socket.destroy();
  }

  async #copyOutput(): Promise<StreamEnd> {
    const { out, err } = this.#context;
    const stdout = (data: Buffer) => (this.#options.stdout ? out.write(data) : undefined);
    const stderr = (data: Buffer) => (this.#options.stderr ? err.write(data) : undefined);
    const frames = this.#options.tty ? undefined : new Demultiplexer({ stdout, stderr });
    try {
      for await (const chunk of this.#socket) {
        if (frames) frames.write(chunk as Buffer);
        else stdout(chunk as Buffer);
        await out.drained();
      }
    } catch (error) {
      // The daemon resets the connection when it ends with input of ours unread: that is an end, too.
      if (errnoOf(error) !== 'ECONNRESET' && errnoOf(error) !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
    }
    return 'ended';
  }

  #copyInput(): void {
    const input = process.stdin;
    const socket = this.#socket;
    const raw = StreamSession.isRaw(this.#options);
    const watched = (raw ? this.#options.detachKeys : []).map((keys) => new DetachKeys(keys));
    const onData = (chunk: Buffer) => {
      let pass = chunk;
      let detached = false;
      for (const keys of watched) {
        const fed = keys.feed(pass);
        pass = fed.pass;
        detached ||= fed.detached;
      }
      if (pass.length > 0 && !socket.write(pass)) {
        input.pause();
        void once(socket, 'drain').then(
          () => input.resume(),
          () => {},
        );
      }
      if (detached) this.detach();
    };
    const onEnd = () => socket.end();
    // Input nobody reads any more is no error: the container's end comes by the output.
    socket.on('error', () => {});
    input.on('data', onData);
    input.once('end', onEnd);
    input.once('error', onEnd);
    if (raw) makeRaw(input);
    this.#restore.push(() => {
      input.off('data', onData);
      input.off('end', onEnd);
      input.off('error', onEnd);
      if (raw) input.setRawMode(false);
      input.pause();
      // Of a terminal or a pipe a read waits that would keep the process; a file has none, and no way to say so.
      if (!(input instanceof ReadStream)) input.unref();
    });
  }
}

/**
 * Node's raw mode still turns newlines into carriage return and newline, which breaks programs that draw: output
 * processing goes, too. Leaving raw mode (libuv does it at every exit) brings all of it back.
 */
function makeRaw(input: NodeJS.ReadStream): void {
  input.setRawMode(true);
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
}

import { isleError } from '../../lib/errors.ts';

/** `ctrl-p,ctrl-q` */
const defaultKeys = [16, 17];

/** Parses `--detach-keys`: single characters and `ctrl-X`, comma-separated. Throws `invalidParameter`. */
export function parseDetachKeys(text: string | undefined): number[] {
  if (!text) return defaultKeys;
  return text.split(',').map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const match = /^ctrl-([a-z@[\\\]^_])$/i.exec(key);
    if (!match)
      throw isleError('invalidParameter', {
        message: `Invalid detach keys (${text}) provided: "${key}" is neither a character nor ctrl-<letter>`,
      });
    return match[1]!.toUpperCase().charCodeAt(0) - 64;
  });
}

/**
 * Looks for the detach keys in what a client types. A sequence begun but not finished is held back and let
 * through as soon as the next key does not continue it.
 */
export class DetachFilter {
  readonly #keys: number[];
  #matched = 0;

  constructor(keys: number[]) {
    this.#keys = keys;
  }

  /** What goes on to the process, and whether the client asked to leave (then nothing after it counts). */
  push(chunk: Buffer): { data: Buffer; detached: boolean } {
    const out: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        if (++this.#matched === this.#keys.length) return { data: Buffer.from(out), detached: true };
        continue;
      }
      out.push(...this.#keys.slice(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) out.push(byte);
      else if (this.#keys.length === 1) return { data: Buffer.from(out), detached: true };
    }
    return { data: Buffer.from(out), detached: false };
  }
}

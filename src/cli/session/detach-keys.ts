import { Failure } from '../failure.ts';

export const defaultDetachKeys = 'ctrl-p,ctrl-q';

/** `ctrl-p,ctrl-q` or single characters, comma separated, as the bytes they send. */
export function parseDetachKeys(text: string): number[] {
  if (text === '') return [];
  return text.split(',').map((key) => {
    const match = /^ctrl-([a-z@[\\\]^_])$/i.exec(key);
    if (match) return match[1]!.toLowerCase() === '@' ? 0 : match[1]!.toLowerCase().charCodeAt(0) & 0x1f;
    if (key.length === 1) return key.charCodeAt(0);
    throw new Failure(`invalid detach keys "${text}"`, { exitCode: 125, hint: 'for example: ctrl-p,ctrl-q' });
  });
}

/**
 * Watches typed bytes for the detach keys. A beginning of them is held back until it is clear whether they
 * follow; what turns out to be something else is passed on.
 */
export class DetachKeys {
  readonly #keys: readonly number[];
  #matched = 0;

  constructor(keys: readonly number[]) {
    this.#keys = keys;
  }

  /** The bytes to pass on, and whether the keys are complete. */
  feed(chunk: Buffer): { pass: Buffer; detached: boolean } {
    if (this.#keys.length === 0) return { pass: chunk, detached: false };
    const pass: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === this.#keys.length) return { pass: Buffer.from(pass), detached: true };
        continue;
      }
      pass.push(...this.#keys.slice(0, this.#matched));
      this.#matched = byte === this.#keys[0] && this.#keys.length > 1 ? 1 : 0;
      if (this.#matched === 0) pass.push(byte);
    }
    return { pass: Buffer.from(pass), detached: false };
  }
}

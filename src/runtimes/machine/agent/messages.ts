import { isleError } from '../../../lib/errors.ts';

/** An answer of qemu-guest-agent: what it returned, or its words of why not. */
export type AgentAnswer = { delimited: boolean } & (
  | { kind: 'return'; value: unknown }
  | { kind: 'error'; why: string }
);

/**
 * Takes what comes from the agent's port apart: JSON, a line each, and 0xFF before the answer of guest-sync-delimited
 * (https://www.qemu.org/docs/master/interop/qemu-ga-ref.html). Inside a guest anybody may hold the port: throws
 * `guestBroken` for a line of more than `limit` bytes; what is no answer is left out.
 */
export class AgentMessages {
  #parts: Buffer[] = [];
  #held = 0;
  #limit = smallAnswer;
  #delimited = false;

  /** Of the answer that is waited for now, in bytes. */
  expect(limit: number): void {
    this.#limit = limit;
  }

  *take(chunk: Buffer): Generator<AgentAnswer> {
    for (let rest = chunk; rest.length > 0; ) {
      const end = rest.findIndex((byte) => byte === newline || byte === delimiter);
      const piece = end < 0 ? rest : rest.subarray(0, end);
      this.#held += piece.length;
      if (this.#held > this.#limit)
        throw isleError('guestBroken', { why: `its agent answers with more than ${this.#limit} bytes` });
      this.#parts.push(piece);
      if (end < 0) return;
      const answer = this.#end(rest[end]!);
      rest = rest.subarray(end + 1);
      if (answer) yield answer;
    }
  }

  #end(byte: number): AgentAnswer | undefined {
    const line = Buffer.concat(this.#parts).toString();
    const delimited = this.#delimited;
    this.#parts = [];
    this.#held = 0;
    this.#delimited = byte === delimiter;
    // Before the delimiter stands what an earlier client did not wait for.
    return byte === delimiter ? undefined : parseAnswer(line, delimited);
  }
}

export const smallAnswer = 1 << 20;

const newline = 0x0a;
const delimiter = 0xff;

function parseAnswer(line: string, delimited: boolean): AgentAnswer | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if ('return' in value) return { delimited, kind: 'return', value: value.return };
  if (!('error' in value)) return undefined;
  const { error } = value;
  const text =
    typeof error === 'object' && error !== null && 'desc' in error && typeof error.desc === 'string'
      ? error.desc
      : 'it says not why';
  return { delimited, kind: 'error', why: text.slice(0, 500) };
}

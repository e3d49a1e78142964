import type { QmpEvent } from './qmp.ts';

/** Bytes of one message that are believed: `query-qmp-schema` has 200 KiB, the statistics of many disks less. */
const maxMessage = 4 * 1024 * 1024;

export type QmpMessage =
  | { kind: 'greeting' }
  | { kind: 'answer'; id: number; value: unknown }
  | { kind: 'refusal'; id: number; why: string }
  | { kind: 'event'; event: QmpEvent }
  /** To nobody. */
  | { kind: 'other' };

/** Takes bytes as they come, gives whole messages. */
export class QmpMessages {
  #chunks: Buffer[] = [];
  #length = 0;

  /** Throws a SyntaxError or RangeError for what no QEMU sends. */
  *take(chunk: Buffer): Generator<QmpMessage> {
    let rest = chunk;
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
      const line = Buffer.concat([...this.#chunks, rest.subarray(0, end)]);
      this.#chunks = [];
      this.#length = 0;
      rest = rest.subarray(end + 1);
      yield line.length === 0 ? { kind: 'other' } : messageOf(JSON.parse(line.toString('utf8')));
    }
    this.#length += rest.length;
    if (this.#length > maxMessage) throw new RangeError(`a message of more than ${maxMessage} bytes`);
    if (rest.length > 0) this.#chunks.push(rest);
  }
}

const newline = 0x0a;

function messageOf(value: unknown): QmpMessage {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new SyntaxError('a message is no object');
  const { QMP, event, data, timestamp, id, error, ...rest } = value as Record<string, unknown>;
  if (QMP !== undefined) return { kind: 'greeting' };
  if (typeof event === 'string')
    return { kind: 'event', event: { event, data: recordOf(data), at: microseconds(timestamp) } };
  if (typeof id !== 'number') return { kind: 'other' };
  if (error !== undefined) return { kind: 'refusal', id, why: String(recordOf(error).desc).slice(0, 1000) };
  return { kind: 'answer', id, value: rest.return };
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function microseconds(timestamp: unknown): number {
  const { seconds, microseconds: rest } = recordOf(timestamp);
  return Number(seconds ?? 0) * 1_000_000 + Number(rest ?? 0);
}

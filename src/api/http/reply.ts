import type { Readable } from 'node:stream';

/** What a handler answers. `taken`: it has the connection itself (a stream or a hijacked socket). */
export type Reply = Answer | 'taken';

export interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: Buffer | Readable;
}

/**
 * The content type is exactly `application/json`: Docker's client before 25 compares it as a text, so that a
 * `charset` would make it show raw JSON instead of the message.
 */
export function json(value: unknown, status = 200, headers?: Record<string, string>): Answer {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: Buffer.from(`${JSON.stringify(value)}\n`),
  };
}

export function text(value: string, status = 200): Answer {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: Buffer.from(value) };
}

export function noContent(status: 200 | 201 | 204 | 304 = 204): Answer {
  return { status };
}

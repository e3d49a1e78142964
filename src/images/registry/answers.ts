import type { IncomingMessage } from 'node:http';
import { isleError } from '../../lib/errors.ts';
import { readBody } from './body.ts';
import type { Connections } from './connections.ts';

const maxErrorBody = 64 * 1024;

/** The registry's own words from its error JSON (`{"errors":[{"code","message"}]}`), on one line; or ''. */
export function registryWords(body: Buffer | undefined): string {
  let value: unknown;
  try {
    value = JSON.parse(body?.toString('utf8') ?? '');
  } catch {
    return '';
  }
  const errors: unknown = isObject(value) ? value.errors : undefined;
  const first: unknown = Array.isArray(errors) ? errors[0] : value;
  if (!isObject(first)) return '';
  const code = typeof first.code === 'string' ? first.code.toLowerCase().replace(/_/g, ' ') : '';
  const message = [first.message, first.details, first.error].find((text) => typeof text === 'string') ?? '';
  const words = code && message ? `${code}: ${String(message)}` : code || String(message);
  return words
    .slice(0, 300)
    .replace(/[\s\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
}

/** An answer that is not the hoped-for one: its status, and the registry's words. */
export class UnexpectedAnswer extends Error {
  readonly status: number;
  readonly words: string;
  /** Milliseconds the registry asks us to wait. */
  readonly retryAfter: number | undefined;

  constructor(host: string, status: number, words: string, retryAfter: number | undefined) {
    super(`registry ${host} answered ${status}${words ? `: ${words}` : ''}`);
    this.name = 'UnexpectedAnswer';
    this.status = status;
    this.words = words;
    this.retryAfter = retryAfter;
  }
}

/** Reads the error body of `response` and makes an error of it. */
export async function unexpectedAnswer(
  response: IncomingMessage,
  host: string,
  connections: Connections,
): Promise<UnexpectedAnswer> {
  const body = await readBody(response, host, maxErrorBody, connections.timeouts);
  return new UnexpectedAnswer(
    host,
    response.statusCode ?? 0,
    registryWords(body),
    parseRetryAfter(response.headers['retry-after']),
  );
}

/** `Retry-After` as seconds or as a date: milliseconds from now. */
export function parseRetryAfter(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** The catalogue's error for an answer nobody expected. */
export function answerError(host: string, error: UnexpectedAnswer): Error {
  const reason = error.words || `status ${error.status}`;
  if (error.status === 429) return isleError('registryRateLimited', { host, reason }, error);
  if (error.status === 401)
    return isleError(
      'registryUnauthorized',
      { host, reason: error.words || 'authentication required' },
      error,
    );
  return isleError(
    'registryAnswer',
    { host, what: `${error.status}${error.words ? `: ${error.words}` : ''}` },
    error,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

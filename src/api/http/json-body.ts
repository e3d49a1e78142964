import type { Readable } from 'node:stream';
import { isleError } from '../../lib/errors.ts';

/** Bytes: far more than any request of the specification needs, far less than what hurts. */
const limit = 8 * 1024 * 1024;

/**
 * A request's JSON, or undefined when the body is empty. The body is read as it comes, whatever its headers claim
 * about its length (CVE-2024-41110 came from trusting them). Throws `invalidParameter`, `bodyTooLarge`.
 */
export async function readJson(body: Readable): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw isleError('bodyTooLarge', { limit });
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  return text.trim() === '' ? undefined : parseJson(text);
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw isleError('invalidParameter', { message: `invalid JSON: ${describe(error, text)}` }, error);
  }
}

function describe(error: unknown, text: string): string {
  const message = error instanceof Error ? error.message : String(error);
  if (/at position \d+/.test(message)) return message;
  return `${message} at position ${text.length}`;
}

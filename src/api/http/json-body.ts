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

/** Throws `invalidParameter` saying at which position the text stops being JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw isleError('invalidParameter', { message: `invalid JSON: ${withPosition(message, text)}` }, error);
  }
}

function withPosition(message: string, text: string): string {
  if (/at position \d+/.test(message)) return message;
  // V8 names the unexpected character and quotes the text around it, but not the place.
  const what = message.replace(/, .*$/s, '').replace(/ in JSON input$| JSON input$/, '');
  return text.length > 64 * 1024 ? what : `${what} at position ${errorPosition(text)}`;
}

/** The longest prefix that could still become JSON, found by halving. */
function errorPosition(text: string): number {
  let good = 0;
  let bad = text.length + 1;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (couldContinue(text.slice(0, middle))) good = middle;
    else bad = middle;
  }
  return good;
}

function couldContinue(prefix: string): boolean {
  try {
    JSON.parse(prefix);
    return true;
  } catch (error) {
    const message = error instanceof Error ? error.message : '';
    const position = /at position (\d+)/.exec(message)?.[1];
    return /^Unexpected end|^Unterminated/.test(message) || Number(position) === prefix.length;
  }
}

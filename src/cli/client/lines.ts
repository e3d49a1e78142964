import type { Readable } from 'node:stream';
import { Failure } from '../failure.ts';

/** Far above any progress line or event; a daemon that sends more is broken. */
const longestLine = 16 * 1024 * 1024;

/** JSON values from a stream of lines. */
export async function* jsonLines<T>(stream: Readable): AsyncGenerator<T> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    rest += decoder.decode(chunk as Buffer, { stream: true });
    let start = 0;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', start)) {
      const line = rest.slice(start, end).trim();
      start = end + 1;
      if (line !== '') yield JSON.parse(line) as T;
    }
    rest = rest.slice(start);
    if (rest.length > longestLine) throw new Failure('the engine sent a line without an end');
  }
  if (rest.trim() !== '') yield JSON.parse(rest) as T;
}

export async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}

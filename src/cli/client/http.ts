import { connect, type Socket } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Failure } from '../failure.ts';
import type { Address } from './address.ts';

/**
 * HTTP/1.1 over one connection for one request: what a call of the command line needs, at a fifth of the time it
 * takes to load and warm up node:http (RFC 9112; chunked bodies, upgrades, half-closed connections).
 */
export interface HttpRequest {
  address: Address;
  method: string;
  path: string;
  headers: Record<string, string>;
  /** Text goes with its length, a stream in chunks. */
  body: string | Readable | undefined;
  signal: AbortSignal | undefined;
}

export interface HttpResponse {
  status: number;
  /** Names in lower case; of a repeated one the last. */
  headers: Record<string, string>;
  body: Readable;
  /** The connection itself after `101 Switching Protocols`; it can be half-closed with `end()`. */
  upgraded: Socket | undefined;
}

/** Rejects with the system's error when there is no connection, with a {@link Failure} when the answer is broken. */
export async function httpRequest(request: HttpRequest): Promise<HttpResponse> {
  const { signal } = request;
  signal?.throwIfAborted();
  const { address } = request;
  const where = 'socketPath' in address ? { path: address.socketPath } : address;
  const socket = connect({ ...where, allowHalfOpen: true });
  const abort = () => socket.destroy(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
  signal?.addEventListener('abort', abort, { once: true });
  socket.once('close', () => signal?.removeEventListener('abort', abort));
  const head = readHead(socket, request.method);
  const { body } = request;
  if (typeof body === 'object') {
    socket.write(`${formatHead(request)}transfer-encoding: chunked\r\n\r\n`);
    const writer = new ChunkWriter(socket);
    const sent = pipeline(body, writer);
    // An answer may come before the end of what we send, and end the sending: then the answer is what counts.
    void head.then(() => writer.destroy()).catch(() => {});
    const failed = sent.then(() => head);
    failed.catch(() => {});
    return Promise.race([head, failed]);
  }
  const length =
    body === undefined && request.method === 'GET'
      ? ''
      : `content-length: ${Buffer.byteLength(body ?? '')}\r\n`;
  socket.write(`${formatHead(request)}${length}\r\n${body ?? ''}`);
  return head;
}

function formatHead({ method, path, headers }: HttpRequest): string {
  let text = `${method} ${path} HTTP/1.1\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    // What was typed goes in encoded; this holds whatever was forgotten.
    if (!/^[\x20-\x7e]*$/.test(value))
      throw new Failure(`the header ${name} holds characters that HTTP does not allow`);
    text += `${name}: ${value}\r\n`;
  }
  if (!/^[\x21-\x7e]+$/.test(path)) throw new Failure('the path holds characters that HTTP does not allow');
  return text;
}

class ChunkWriter extends Writable {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.once('error', (error) => this.destroy(error));
    socket.once('close', () => this.destroy());
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    // An empty chunk would be the end of the body.
    if (chunk.length === 0) return done();
    // Reading comes first: a write after the engine has refused and hung up would take its answer with it.
    setImmediate(() => {
      if (this.destroyed) return done();
      this.#socket.cork();
      this.#socket.write(`${chunk.length.toString(16)}\r\n`);
      this.#socket.write(chunk);
      this.#socket.write('\r\n', done);
      this.#socket.uncork();
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.write('0\r\n\r\n', done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // A source that failed must not look like a whole one.
    if (error) this.#socket.destroy(error);
    done(error);
  }
}

/** Far above any head that the engine sends. */
const longestHead = 64 * 1024;

function readHead(socket: Socket, method: string): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const stop = () => {
      socket.off('data', onData).off('end', onEnd).off('error', onError).off('close', onEnd);
      socket.pause();
    };
    const fail = (error: Error) => {
      stop();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const onError = (error: Error) => fail(error);
    const onEnd = () => fail(new Failure('the engine closed the connection without an answer'));
    const onData = (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) {
        if (received.length > longestHead) fail(new Failure('the engine sent a head without an end'));
        return;
      }
      const parsed = parseHead(received.toString('latin1', 0, end));
      received = received.subarray(end + 4);
      if (!parsed) return fail(new Failure('the engine does not speak HTTP'));
      if (parsed.status === 100) return onData(Buffer.alloc(0));
      stop();
      if (parsed.status === 101) {
        if (received.length > 0) socket.unshift(received);
        resolve({ ...parsed, upgraded: socket, body: Readable.from([]) });
      } else {
        const body = new Body(socket, lengthOf(parsed, method), received);
        resolve({ ...parsed, upgraded: undefined, body });
      }
    };
    socket.on('data', onData).on('end', onEnd).on('error', onError).on('close', onEnd);
  });
}

interface Head {
  status: number;
  headers: Record<string, string>;
}

function parseHead(text: string): Head | undefined {
  const [first = '', ...lines] = text.split('\r\n');
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first)?.[1];
  if (status === undefined) return undefined;
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(status), headers };
}

/** Bytes, or how the end is found. */
type Length = number | 'chunked' | 'until-close';

function lengthOf({ status, headers }: Head, method: string): Length {
  if (method === 'HEAD' || status === 204 || status === 304) return 0;
  if (/\bchunked\b/i.test(headers['transfer-encoding'] ?? '')) return 'chunked';
  const length = headers['content-length'];
  return length !== undefined && /^\d+$/.test(length) ? Number(length) : 'until-close';
}

/** The body of an answer; reading it to its end, or destroying it, closes the connection. */
class Body extends Readable {
  readonly #socket: Socket;
  readonly #mode: Length;
  /** Bytes of the body or of the chunk still to come. */
  #left = 0;
  /** A chunk's size line (or the end of the chunk before) that is not whole yet. */
  #line = '';
  #state: 'size' | 'data' | 'after-data' | 'trailer' = 'size';
  #complete = false;

  /** @param received what came with the head. */
  constructor(socket: Socket, mode: Length, received: Buffer) {
    super();
    this.#socket = socket;
    this.#mode = mode;
    if (typeof mode === 'number') this.#left = mode;
    // Who reads gets the error; it may happen before anyone does.
    this.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => this.#ended());
    socket.on('close', () => this.#ended());
    socket.on('error', (error) => (this.#complete ? undefined : this.destroy(error)));
    socket.pause();
    if (mode === 0) this.#finish();
    else if (received.length > 0) this.#take(received);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #take(chunk: Buffer): void {
    let more = true;
    if (this.#mode === 'until-close') more = this.push(chunk);
    else if (this.#mode === 'chunked') more = this.#takeChunked(chunk);
    else {
      const part = chunk.subarray(0, this.#left);
      this.#left -= part.length;
      more = this.push(part);
      if (this.#left === 0) this.#finish();
    }
    if (!more) this.#socket.pause();
  }

  #takeChunked(chunk: Buffer): boolean {
    let more = true;
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === 'data') {
        const part = chunk.subarray(at, at + this.#left);
        at += part.length;
        this.#left -= part.length;
        more = this.push(part);
        if (this.#left === 0) this.#state = 'after-data';
        continue;
      }
      const newline = chunk.indexOf(10, at);
      this.#line += chunk.toString('latin1', at, newline < 0 ? chunk.length : newline);
      if (this.#line.length > 4096) {
        this.destroy(new Failure('the engine sent a broken stream'));
        return false;
      }
      if (newline < 0) return more;
      at = newline + 1;
      if (!this.#takeLine(this.#line.replace(/\r$/, ''))) return false;
      this.#line = '';
    }
    return more;
  }

  /** False when the body is over. */
  #takeLine(line: string): boolean {
    if (this.#state === 'after-data') this.#state = 'size';
    else if (this.#state === 'trailer') {
      if (line !== '') return true;
      this.#finish();
      return false;
    } else {
      const size = /^([0-9a-f]{1,12})(?:\s*;.*)?$/i.exec(line)?.[1];
      if (size === undefined) {
        this.destroy(new Failure('the engine sent a broken stream'));
        return false;
      }
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? 'trailer' : 'data';
    }
    return true;
  }

  #finish(): void {
    if (this.#complete) return;
    this.#complete = true;
    this.push(null);
    this.#socket.destroySoon();
  }

  #ended(): void {
    if (this.#complete || this.destroyed) return;
    if (this.#mode === 'until-close') this.#finish();
    else this.destroy(new Failure('the engine closed the connection in the middle of its answer'));
  }
}

import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { normalTime, parseEntry } from './entry.ts';
import { type LogLine, readLog, type ReadLogOptions } from './read.ts';

let directory: string;
let path: string;
before(async () => {
  directory = await mkdtemp('/tmp/isle-log-');
});
after(async () => await rm(directory, { recursive: true }));

let count = 0;
async function log(text: string, rotated: string[] = []): Promise<void> {
  path = join(directory, `log${count++}`);
  await writeFile(path, text);
  for (const [index, older] of rotated.entries()) await writeFile(`${path}.${index + 1}`, older);
}

const never = new Promise<void>(() => {});
const open = { stdout: true, stderr: true, follow: false, ended: never };

async function read(options: Partial<ReadLogOptions> = {}): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for await (const line of readLog(path, { ...open, ...options }, new AbortController().signal))
    lines.push(line);
  return lines;
}

function line(second: number, text: string, stream = 'stdout', tag = 'F'): string {
  return `2026-01-02T03:04:${String(second).padStart(2, '0')}.000000001+00:00 ${stream} ${tag} ${text}\n`;
}

const texts = (lines: LogLine[]) => lines.map(({ data }) => data.toString());

test('entries keep their stream, time and text, whatever it holds', async () => {
  await log(line(1, 'a b  c ') + line(2, '', 'stderr') + line(3, '2026-01-01T00:00:00Z stdout F fake'));
  const lines = await read();
  assert.deepEqual(
    lines.map(({ stream }) => stream),
    ['stdout', 'stderr', 'stdout'],
  );
  assert.deepEqual(texts(lines), ['a b  c \n', '\n', '2026-01-01T00:00:00Z stdout F fake\n']);
  assert.equal(lines[0]!.time, '2026-01-02T03:04:01.000000001Z');
});

test('partial entries of each stream are joined; an unfinished line has no newline', async () => {
  await log(
    line(1, 'one ', 'stdout', 'P') +
      line(1, 'err', 'stderr') +
      line(1, 'two') +
      line(2, 'prompt> ', 'stdout', 'P'),
  );
  assert.deepEqual(texts(await read()), ['err\n', 'one two\n', 'prompt> ']);
});

test('whatever was written, in whatever pieces, is read as it was', async () => {
  const pieces = fc.array(
    fc.record({
      stream: fc.constantFrom('stdout', 'stderr'),
      text: fc
        .array(fc.constantFrom('a', ' ', '\n', 'é', '\r', '\t', '\0', 'F', '2026-'))
        .map((parts) => parts.join('')),
    }),
    { maxLength: 30 },
  );
  await fc.assert(
    fc.asyncProperty(pieces, async (chunks) => {
      await log(chunks.map(({ stream, text }) => asConmon(stream, text)).join(''));
      const lines = await read();
      for (const stream of ['stdout', 'stderr']) {
        const written = chunks.filter((chunk) => chunk.stream === stream).map(({ text }) => text);
        const got = texts(lines.filter((each) => each.stream === stream));
        assert.equal(got.join(''), written.join(''));
        assert.ok(got.slice(0, -1).every((text) => text.indexOf('\n') === text.length - 1));
      }
    }),
    { numRuns: 50 },
  );
});

/** One read of conmon's: an entry for each line, the last one partial when it has no newline. */
function asConmon(stream: string, text: string): string {
  return (text.match(/[^\n]*\n|[^\n]+$/g) ?? [])
    .map((part) => line(1, part.replace('\n', ''), stream, part.endsWith('\n') ? 'F' : 'P'))
    .join('');
}

test('a line of megabytes comes in bounded pieces', async () => {
  await log(
    Array.from({ length: 40 }, () => line(1, 'x'.repeat(8000), 'stdout', 'P')).join('') + line(1, ''),
  );
  const pieces = texts(await read());
  assert.ok(pieces.every((piece) => piece.length <= 32_768));
  assert.equal(pieces.join(''), `${'x'.repeat(320_000)}\n`);
});

test('what is no entry is passed over', async () => {
  await log(
    `garbage\n\n${line(1, 'good')}2026-01-02T03:04:05Z stdout X no\n${'y'.repeat(300_000)}\n${line(2, 'too')}half a li`,
  );
  assert.deepEqual(texts(await read()), ['good\n', 'too\n']);
  assert.equal(parseEntry(Buffer.from('not-a-time-at-all-here stdout F x')), undefined);
});

test('tail counts lines of the wanted streams, from the end and across rotated files', async () => {
  const many = Array.from({ length: 5000 }, (_, n) => line(n % 60, `line ${n}`)).join('');
  await log(many, [Array.from({ length: 10 }, (_, n) => line(0, `older ${n}`)).join('')]);
  assert.deepEqual(texts(await read({ tail: 2 })), ['line 4998\n', 'line 4999\n']);
  assert.equal((await read({ tail: 5003 })).length, 5003);
  assert.equal(texts(await read({ tail: 5003 }))[0], 'older 7\n');
  assert.equal((await read({ tail: 999_999 })).length, 5010);
  assert.deepEqual(await read({ tail: 0 }), []);
  await log(
    line(1, 'o1') + line(2, 'e1', 'stderr') + line(3, 'o2') + line(4, 'o', 'stdout', 'P') + line(5, '3'),
  );
  assert.deepEqual(texts(await read({ tail: 2, stderr: false })), ['o2\n', 'o3\n']);
  assert.deepEqual(texts(await read({ tail: 1, stdout: false })), ['e1\n']);
});

test('since and until bound the time', async () => {
  await log([1, 2, 3, 4].map((n) => line(n, String(n))).join(''));
  const at = (n: number) => `2026-01-02T03:04:0${n}.000000001Z`;
  assert.deepEqual(texts(await read({ since: at(2), until: at(3) })), ['2\n', '3\n']);
  assert.deepEqual(texts(await read({ since: '2026-01-02T04:04:03.000000002+01:00' })), ['4\n']);
});

test('following gives what comes later, across rotations, and ends when the writer has', async () => {
  await log(line(1, 'old'));
  const ended = Promise.withResolvers<void>();
  const seen: string[] = [];
  const reading = (async () => {
    const options = { ...open, follow: true, ended: ended.promise };
    for await (const { data } of readLog(path, options, new AbortController().signal))
      seen.push(data.toString());
  })();
  await delay(20);
  await appendFile(path, line(2, 'second'));
  await delay(20);
  await rename(path, `${path}.1`);
  await appendFile(`${path}.1`, line(3, 'third'));
  await writeFile(path, line(4, 'fourth'));
  await rename(`${path}.1`, `${path}.2`);
  await rename(path, `${path}.1`);
  await writeFile(path, line(5, 'fifth'));
  await delay(20);
  await appendFile(path, line(6, 'last'));
  ended.resolve();
  await reading;
  assert.deepEqual(seen, ['old\n', 'second\n', 'third\n', 'fourth\n', 'fifth\n', 'last\n']);
});

test('following waits for a log that is not there yet, and stops on abort', async () => {
  path = join(directory, 'later');
  const stop = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { data } of readLog(path, { ...open, follow: true }, stop.signal))
      seen.push(data.toString());
  })();
  await delay(20);
  await writeFile(path, line(1, 'first'));
  await delay(20);
  stop.abort();
  await reading;
  assert.deepEqual(seen, ['first\n']);
});

test('a log that does not exist is empty', async () => {
  path = join(directory, 'none');
  assert.deepEqual(await read({ tail: 3 }), []);
});

test('times of any zone become UTC with nine digits', () => {
  assert.equal(normalTime('2026-01-02T03:04:05+02:00'), '2026-01-02T01:04:05.000000000Z');
  assert.equal(normalTime('2026-01-02T03:04:05.1234Z'), '2026-01-02T03:04:05.123400000Z');
  assert.equal(normalTime('yesterday'), undefined);
});

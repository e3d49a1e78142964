import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ProgressLine } from '../client/types.ts';
import type { Output } from './output.ts';
import { painter } from './paint.ts';
import { progressView } from './progress.ts';
import { displayWidth } from './table.ts';

/** A terminal that understands what the bars use: newlines, cursor up, erase line, erase below. */
class Screen {
  lines: string[] = [''];
  #row = 0;
  written = '';

  write(text: string): void {
    this.written += text;
    // oxlint-disable-next-line no-control-regex
    for (const [part] of text.matchAll(/\x1b\[(\d+)A|\x1b\[2K|\x1b\[0J|\n|[^\x1b\n]+/g)) {
      // oxlint-disable-next-line no-control-regex
      const up = /^\x1b\[(\d+)A$/.exec(part);
      if (up) this.#row -= Number(up[1]);
      else if (part === '\x1b[2K') this.lines[this.#row] = '';
      else if (part === '\x1b[0J') this.lines.length = this.#row + 1;
      else if (part === '\n') this.lines[++this.#row] ??= '';
      else this.lines[this.#row] = part;
      assert.ok(this.#row >= 0, 'the cursor went above the screen');
    }
  }
}

function view(isTerminal: boolean, columns = 80, rows = 24) {
  const screen = new Screen();
  let now = 0;
  const output = {
    isTerminal,
    columns,
    paint: painter(false),
    stream: { rows },
    write: (text: string) => screen.write(text),
    line: (text: string) => screen.write(`${text}\n`),
  } as unknown as Output;
  return { screen, progress: progressView(output, () => (now += 100)) };
}

const pull: ProgressLine[] = [
  { id: 'latest', status: 'Pulling from app' },
  { id: 'aaaaaaaaaaaa', status: 'Pulling fs layer' },
  { id: 'bbbbbbbbbbbb', status: 'Pulling fs layer' },
  { id: 'aaaaaaaaaaaa', status: 'Downloading', progressDetail: { current: 50, total: 100 } },
  { id: 'aaaaaaaaaaaa', status: 'Downloading', progressDetail: { current: 80, total: 100 } },
  { id: 'aaaaaaaaaaaa', status: 'Pull complete' },
  { id: 'bbbbbbbbbbbb', status: 'Pull complete' },
  { status: 'Digest: sha256:x' },
];

test('elsewhere than on a terminal each change of state is a line', () => {
  const { screen, progress } = view(false);
  for (const line of pull) progress.update(line);
  progress.end();
  assert.deepEqual(screen.lines, [
    'latest: Pulling from app',
    'aaaaaaaaaaaa: Pulling fs layer',
    'bbbbbbbbbbbb: Pulling fs layer',
    'aaaaaaaaaaaa: Downloading',
    'aaaaaaaaaaaa: Pull complete',
    'bbbbbbbbbbbb: Pull complete',
    'Digest: sha256:x',
    '',
  ]);
});

test('on a terminal every layer keeps its line, and the last state stays', () => {
  const { screen, progress } = view(true);
  for (const line of pull) progress.update(line);
  progress.end();
  assert.deepEqual(screen.lines, [
    'latest: Pulling from app',
    'aaaaaaaaaaaa Pull complete',
    'bbbbbbbbbbbb Pull complete',
    'Digest: sha256:x',
    '',
  ]);
  assert.match(screen.written, /aaaaaaaaaaaa Downloading +▕█+.*▏ 50B \/ 100B/);
});

test('whatever comes, lines fit the terminal, and the cursor stays on the screen', () => {
  const line = fc.record(
    {
      id: fc.oneof(fc.constantFrom('a', 'b', 'c'), fc.string()),
      status: fc.oneof(fc.constantFrom('Downloading', 'Pull complete', 'Extracting'), fc.string()),
      progressDetail: fc.record({ current: fc.nat(), total: fc.nat() }, { requiredKeys: [] }),
      stream: fc.string(),
    },
    { requiredKeys: ['status'] },
  );
  fc.assert(
    fc.property(
      fc.array(line),
      fc.integer({ min: 20, max: 120 }),
      fc.integer({ min: 3, max: 30 }),
      (lines, columns, rows) => {
        const { screen, progress } = view(true, columns, rows);
        const said = new Set<string>();
        for (const one of lines) progress.update(one);
        progress.end();
        for (const text of screen.lines)
          if (/[▕█]|^.{12} (Downloading|Extracting)/.test(text)) said.add(text);
        for (const text of said) assert.ok(displayWidth(text) < columns, text);
      },
    ),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { harmless, painter } from './paint.ts';
import { wantsColor } from './output.ts';
import { cut, displayWidth, renderTable } from './table.ts';

test('columns are aligned, the last one unpadded', () => {
  const text = renderTable(
    [{ title: 'NAME' }, { title: 'SIZE', align: 'right' }, { title: 'X' }],
    [
      ['a', '1kB', 'x'],
      ['longer', '20MB', ''],
    ],
  );
  assert.equal(text, 'NAME     SIZE   X\na         1kB   x\nlonger   20MB\n');
});

test('a narrow terminal cuts what may be cut', () => {
  const text = renderTable(
    [{ title: 'ID' }, { title: 'NAME', shrink: 4 }],
    [['abcdef', 'a very long name']],
    { width: 18 },
  );
  assert.equal(text, 'ID       NAME\nabcdef   a very l…\n');
});

test('colour does not count as width', () => {
  const { red } = painter(true);
  const text = renderTable([{ title: 'A' }, { title: 'B' }], [[{ text: 'x', paint: red }, 'y']]);
  assert.equal(text, 'A   B\n\x1b[31mx\x1b[39m   y\n');
});

test('wide characters count two columns, marks none', () => {
  assert.equal(displayWidth('日本'), 4);
  assert.equal(displayWidth('e\u0301'), 1);
  assert.equal(cut('日本語', 5), '日本…');
});

test('names cannot carry escape sequences to the terminal', () => {
  assert.equal(harmless('a\x1b]0;title\x07b'), 'a␛]0;title␇b');
  assert.equal(harmless('one\ntwo\t3'), 'one⏎two 3');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      // oxlint-disable-next-line no-control-regex
      assert.doesNotMatch(harmless(text), /[\x00-\x1f\x7f-\x9f]/);
    }),
  );
});

test('whatever the cells, no line is wider than the terminal when all may shrink', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 5 }),
      fc.integer({ min: 20, max: 100 }),
      (rows, width) => {
        const text = renderTable(
          [
            { title: 'A', shrink: 3 },
            { title: 'B', shrink: 3 },
          ],
          rows,
          { width },
        );
        for (const line of text.split('\n')) assert.ok(displayWidth(line) <= width, line);
      },
    ),
  );
});

test('colours follow --color, NO_COLOR, TERM and the terminal', () => {
  assert.equal(wantsColor('auto', true, {}), true);
  assert.equal(wantsColor('auto', false, {}), false);
  assert.equal(wantsColor('auto', true, { NO_COLOR: '1' }), false);
  assert.equal(wantsColor('auto', true, { NO_COLOR: '' }), true);
  assert.equal(wantsColor('auto', true, { TERM: 'dumb' }), false);
  assert.equal(wantsColor('always', false, { NO_COLOR: '1' }), true);
  assert.equal(wantsColor('never', true, {}), false);
});

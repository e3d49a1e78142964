import assert from 'node:assert/strict';
import { test } from 'node:test';
import { comparison } from '../../../test/fixtures/comparison.ts';
import { painter } from '../terminal/paint.ts';
import type { Output } from '../terminal/output.ts';
import { displayWidth } from '../terminal/table.ts';
import { escapeXml, renderChart, ticksTo } from './chart.ts';
import type { Report } from './report.ts';
import { printReport } from './table-view.ts';

function printed(report: Report, columns: number | undefined, colours = false): string {
  let text = '';
  const out = {
    paint: painter(colours),
    columns,
    write: (more: string) => (text += more),
    line: (more = '') => (text += `${more}\n`),
  };
  printReport(out as unknown as Output, report);
  return text;
}

test('the table names every isolation, what failed and why, and the advice', () => {
  const text = printed(comparison(), undefined);
  assert.match(text, /container +container\+userns +system container +microVM/);
  assert.match(text, /first output +50 ms \(45–60\) +55 ms \(49.5–66\) +- +2 s \(1.8–2.4\)/);
  assert.match(text, /root inside is +root on the host +user 100000 +- +its own; user 65534 outside/);
  assert.match(text, /^system container: failed: no init$/m);
  assert.match(text, /^Advice: run it as a container with a user namespace\.\n- Because\.$/m);
  assert.doesNotMatch(text, /\x1b/); // oxlint-disable-line no-control-regex
});

test('it fits any terminal, and loses no number on the way', () => {
  for (const columns of [140, 100, 80, 60, 40]) {
    const lines = printed(comparison(), columns).split('\n');
    const widest = Math.max(...lines.map(displayWidth));
    assert.ok(widest <= columns, `${widest} columns in a terminal of ${columns}`);
    assert.match(lines.join('\n'), /2 s/);
    assert.match(lines.join('\n'), /120 MB/);
  }
});

test('colours are those of the painter, and none of the image', () => {
  const text = printed(comparison({ image: 'evil\x1b]0;title\x07' }), 200, true);
  assert.match(text, /\x1b\[32m50 ms/); // oxlint-disable-line no-control-regex
  assert.doesNotMatch(text, /\x1b\]|\x07/); // oxlint-disable-line no-control-regex
});

/** Tags match, attributes are quoted, text holds no bare markup. Returns the names of the elements. */
function parseXml(text: string): string[] {
  const open: string[] = [];
  const seen: string[] = [];
  const token =
    /<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<&]*(?:&(?:amp|lt|gt|quot|#39);[^"<&]*)*")*)\s*(\/?)>|([^<]+)/gy;
  let end = 0;
  for (const match of text.matchAll(token)) {
    assert.equal(match.index, end, `not XML: ${text.slice(end, end + 60)}`);
    end += match[0].length;
    const [, closing, name = '', , selfClosed, content] = match;
    if (content !== undefined) assert.doesNotMatch(content, /&(?!(amp|lt|gt|quot|#39);)/);
    else if (closing) assert.equal(open.pop(), name);
    else {
      seen.push(name);
      if (!selfClosed) open.push(name);
    }
  }
  assert.equal(end, text.length, `not XML: ${text.slice(end, end + 60)}`);
  assert.deepEqual(open, []);
  return seen;
}

test('the chart is XML with a bar for each measurement, and says what it shows', () => {
  const svg = renderChart(comparison());
  const names = parseXml(svg);
  assert.equal(names[0], 'svg');
  assert.ok(names.filter((name) => name === 'rect').length > 20);
  assert.match(svg, /What isolation costs for web:latest: httpd -f/);
  assert.match(svg, /<title>microVM: 2 s<\/title>/);
  assert.match(svg, /prefers-color-scheme:dark/);
  assert.match(svg, /failed/);
});

test('names of others cannot break out of the chart', () => {
  const command = ['<script>alert(1)</script>', '"&\x00\x1b\ud800'];
  const svg = renderChart(comparison({ image: `a'><!--`, command }));
  assert.ok(!parseXml(svg).includes('script'));
  assert.equal(escapeXml(`<a b="c">&'\x00`), '&lt;a b=&quot;c&quot;&gt;&amp;&#39;\ufffd');
});

test('ticks are round and few', () => {
  assert.deepEqual(ticksTo(2000), [0, 1000, 2000]);
  assert.deepEqual(ticksTo(0.047), [0, 0.02, 0.04]);
  assert.deepEqual(ticksTo(0), [0]);
  for (const most of [1, 7, 9.99, 123, 3e9])
    assert.ok(ticksTo(most).length >= 2 && ticksTo(most).length <= 5);
});

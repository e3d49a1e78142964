import { harmless } from './paint.ts';

export interface Column {
  title: string;
  align?: 'left' | 'right';
  /** May be cut to this width when the terminal is narrow; absent: never cut. */
  shrink?: number;
}

export interface Cell {
  text: string;
  paint?: (text: string) => string;
}

const gap = 3;

/** Rows under titles, aligned; cut to `width` columns (the widest shrinkable column first) when that is given. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly (Cell | string)[])[],
  options: { width?: number | undefined; title?: (text: string) => string } = {},
): string {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'string' ? { text: cell } : cell)));
  for (const row of cells) for (const cell of row) cell.text = harmless(cell.text);
  const widths = columns.map((column, at) =>
    Math.max(displayWidth(column.title), ...cells.map((row) => displayWidth(row[at]?.text ?? ''))),
  );
  if (options.width !== undefined) shrink(columns, widths, options.width);

  const line = (values: readonly Cell[]) => {
    let text = '';
    for (const [at, column] of columns.entries()) {
      const cell = values[at] ?? { text: '' };
      const width = widths[at]!;
      const shown = cut(cell.text, width);
      const padding = ' '.repeat(width - displayWidth(shown));
      const painted = cell.paint ? cell.paint(shown) : shown;
      const last = at === columns.length - 1;
      text += column.align === 'right' ? padding + painted : painted + (last ? '' : padding);
      if (!last) text += ' '.repeat(gap);
    }
    return text.replace(/ +$/, '');
  };
  const titles = columns.map((column) => ({
    text: column.title,
    ...(options.title && { paint: options.title }),
  }));
  return [line(titles), ...cells.map(line)].map((text) => `${text}\n`).join('');
}

function shrink(columns: readonly Column[], widths: number[], available: number): void {
  let excess = widths.reduce((sum, width) => sum + width, 0) + gap * (widths.length - 1) - available;
  while (excess > 0) {
    let widest = -1;
    for (const [at, column] of columns.entries()) {
      if (column.shrink === undefined || widths[at]! <= column.shrink) continue;
      if (widest < 0 || widths[at]! > widths[widest]!) widest = at;
    }
    if (widest < 0) return;
    widths[widest]!--;
    excess--;
  }
}

export function cut(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  if (width <= 1) return '…'.slice(0, width);
  let kept = '';
  let used = 0;
  for (const char of text) {
    const wide = charWidth(char);
    if (used + wide > width - 1) break;
    kept += char;
    used += wide;
  }
  return `${kept}…`;
}

/** Columns a text takes: wide East Asian characters and emoji count two, combining marks none. */
export function displayWidth(text: string): number {
  // biome-ignore lint: plain ASCII is the usual case
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const char of text) width += charWidth(char);
  return width;
}

function charWidth(char: string): number {
  const code = char.codePointAt(0)!;
  if (/\p{Mn}/u.test(char) || code === 0x200d || (code >= 0xfe00 && code <= 0xfe0f)) return 0;
  const wide =
    (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0xa4cf) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0xffe0 && code <= 0xffe6) ||
    (code >= 0x1f300 && code <= 0x1faff) ||
    (code >= 0x20000 && code <= 0x3fffd);
  return wide ? 2 : 1;
}

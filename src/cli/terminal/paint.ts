const codes = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  cyan: [36, 39],
} as const;

export type Style = keyof typeof codes;
export type Paint = Record<Style, (text: string) => string>;

/** Functions that colour a text, or leave it. */
export function painter(enabled: boolean): Paint {
  const entries = Object.entries(codes).map(([style, [on, off]]) => [
    style,
    enabled
      ? (text: string) => (text === '' ? '' : `\x1b[${on}m${text}\x1b[${off}m`)
      : (text: string) => text,
  ]);
  return Object.fromEntries(entries) as Paint;
}

/**
 * Text from an image, a label or a guest, made safe to show on a terminal: control characters (escape sequences
 * that retitle windows or rewrite lines among them) become their visible forms.
 */
export function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]|[\t\n]/g, (char) => {
    const code = char.charCodeAt(0);
    if (char === '\n') return '⏎';
    if (char === '\t') return ' ';
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : '�';
  });
}

/**
 * YAML of plain data that every reader reads alike, YAML 1.1's (cloud-init's) included: it is JSON, all texts in quotes and
 * everything beyond printable ASCII escaped, so that no value can be taken for a date, a boolean, a line break or a key.
 * Throws for a text that is no Unicode (half a surrogate pair).
 */
export function toYaml(data: unknown): string {
  return `${JSON.stringify(data, checked, 2).replace(/[^\n\x20-\x7e]/gu, escaped)}\n`;
}

function checked(_key: string, value: unknown): unknown {
  if (typeof value === 'string' && !value.isWellFormed()) throw new TypeError('a text is not valid Unicode');
  return value;
}

/** JSON would write a pair of escapes for what is beyond 16 bits, which YAML reads as two characters. */
function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  const digits = code.toString(16).toUpperCase();
  return code > 0xffff ? `\\U${digits.padStart(8, '0')}` : `\\u${digits.padStart(4, '0')}`;
}

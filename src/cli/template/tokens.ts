export type Token =
  | { kind: 'literal'; text: string; value: unknown }
  /** `.A.B`; the dot alone has no fields. */
  | { kind: 'field'; text: string; fields: string[]; glued: boolean }
  | { kind: 'variable'; text: string; name: string; fields: string[] }
  | { kind: 'word'; text: string }
  | { kind: 'symbol'; text: string };

const patterns = {
  space: /\s+/y,
  string: /"(?:\\.|[^"\\])*"|`[^`]*`/y,
  number: /[+-]?\d+(?:\.\d+)?/y,
  variable: /\$(\w*)((?:\.\w+)*)/y,
  field: /\.\w+(?:\.\w+)*|\./y,
  word: /[A-Za-z_]\w*/y,
  symbol: /:=|=|\||\(|\)|,/y,
};

/** The tokens of one `{{action}}`. */
export function tokenize(action: string, bad: (why: string) => Error): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let spaced = true;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(action);
    if (found) at += found[0].length;
    return found;
  };
  while (at < action.length) {
    if (match(patterns.space)) {
      spaced = true;
      continue;
    }
    const token = one(match, spaced, bad);
    if (!token) throw bad(`unexpected "${action.slice(at)}"`);
    if (token.text !== ',') tokens.push(token);
    spaced = false;
  }
  return tokens;
}

function one(
  match: (pattern: RegExp) => RegExpExecArray | null,
  spaced: boolean,
  bad: (why: string) => Error,
): Token | undefined {
  let found = match(patterns.string);
  if (found) return { kind: 'literal', text: found[0], value: unquote(found[0], bad) };
  found = match(patterns.number);
  if (found) return { kind: 'literal', text: found[0], value: Number(found[0]) };
  found = match(patterns.variable);
  if (found)
    return {
      kind: 'variable',
      text: found[0],
      name: found[1]!,
      fields: found[2]!.split('.').filter(Boolean),
    };
  found = match(patterns.field);
  if (found)
    return { kind: 'field', text: found[0], fields: found[0].split('.').filter(Boolean), glued: !spaced };
  found = match(patterns.word);
  if (found) {
    const text = found[0];
    if (text === 'true' || text === 'false') return { kind: 'literal', text, value: text === 'true' };
    if (text === 'nil') return { kind: 'literal', text, value: undefined };
    return { kind: 'word', text };
  }
  found = match(patterns.symbol);
  return found ? { kind: 'symbol', text: found[0] } : undefined;
}

function unquote(text: string, bad: (why: string) => Error): string {
  if (text.startsWith('`')) return text.slice(1, -1);
  try {
    return JSON.parse(text) as string;
  } catch {
    throw bad(`invalid string ${text}`);
  }
}

import { templateError } from '../failure.ts';
import { type Token, tokenize } from './tokens.ts';

/** A value or call inside an action. */
export type Expression =
  | { kind: 'literal'; value: unknown }
  /** `.A.B` from the dot, `$x.A` from a variable, `(pipeline).A`. */
  | { kind: 'path'; from: Expression | 'dot' | { variable: string }; fields: string[] }
  | { kind: 'call'; name: string; args: Expression[] };

export type Node =
  | { kind: 'text'; text: string }
  | { kind: 'print'; value: Expression }
  | { kind: 'assign'; variable: string; value: Expression }
  | { kind: 'if' | 'with'; condition: Expression; body: Node[]; otherwise: Node[] }
  | { kind: 'range'; over: Expression; key?: string; value?: string; body: Node[]; otherwise: Node[] };

/** Parses the part of Go's text/template that `--format` is used with. Throws a usage error for the rest. */
export function parseTemplate(source: string): Node[] {
  const pieces = split(source);
  const state = { pieces, at: 0 };
  const { nodes, end } = parseNodes(state);
  if (end !== undefined) throw bad(`unexpected {{${end.words}}}`);
  return nodes;
}

type Piece = { text: string } | { words: string; tokens: Token[] };

interface State {
  pieces: Piece[];
  at: number;
}

interface End {
  word: 'end' | 'else';
  words: string;
  tokens: Token[];
}

function bad(why: string): Error {
  return templateError(`template parsing error: ${why}`, 'see: isle help ps, or use --format json');
}

function split(source: string): Piece[] {
  const pieces: Piece[] = [];
  let text = '';
  let at = 0;
  let trimNext = false;
  const addText = (part: string) => {
    text += trimNext ? part.trimStart() : part;
    trimNext = false;
  };
  for (;;) {
    const open = source.indexOf('{{', at);
    if (open < 0) break;
    addText(source.slice(at, open));
    const close = actionEnd(source, open + 2);
    if (close < 0) throw bad('unclosed action');
    let inner = source.slice(open + 2, close);
    if (/^-\s/.test(inner)) {
      text = text.trimEnd();
      inner = inner.slice(1);
    }
    if (/\s-$/.test(inner)) {
      trimNext = true;
      inner = inner.slice(0, -1);
    }
    if (text !== '') pieces.push({ text });
    text = '';
    inner = inner.trim();
    if (!/^\/\*[^]*\*\/$/.test(inner)) pieces.push({ words: inner, tokens: tokenize(inner, bad) });
    at = close + 2;
  }
  addText(source.slice(at));
  if (text !== '') pieces.push({ text });
  return pieces;
}

/** The index of the `}}` that ends an action, past quoted strings. */
function actionEnd(source: string, from: number): number {
  for (let at = from; at < source.length; at++) {
    const char = source[at];
    if (char === '"' || char === '`') {
      const end = quoteEnd(source, at);
      if (end < 0) return -1;
      at = end;
    } else if (char === '}' && source[at + 1] === '}') return at;
  }
  return -1;
}

function quoteEnd(source: string, from: number): number {
  const quote = source[from];
  for (let at = from + 1; at < source.length; at++) {
    if (source[at] === '\\' && quote === '"') at++;
    else if (source[at] === quote) return at;
  }
  return -1;
}

function parseNodes(state: State): { nodes: Node[]; end: End | undefined } {
  const nodes: Node[] = [];
  while (state.at < state.pieces.length) {
    const piece = state.pieces[state.at++]!;
    if ('text' in piece) {
      nodes.push({ kind: 'text', text: piece.text });
      continue;
    }
    const first = piece.tokens[0];
    if (!first) throw bad('missing value for command');
    if (first.kind === 'word' && (first.text === 'end' || first.text === 'else'))
      return { nodes, end: { word: first.text, words: piece.words, tokens: piece.tokens.slice(1) } };
    nodes.push(parseAction(piece.tokens, state));
  }
  return { nodes, end: undefined };
}

function parseAction(tokens: Token[], state: State): Node {
  const first = tokens[0]!;
  if (first.kind === 'word' && (first.text === 'if' || first.text === 'with')) {
    const condition = parsePipeline(new Cursor(tokens.slice(1)));
    return { kind: first.text, condition, ...parseBlock(state, first.text) };
  }
  if (first.kind === 'word' && first.text === 'range') return parseRange(tokens.slice(1), state);
  if (
    first.kind === 'variable' &&
    (tokens[1]?.text === ':=' || tokens[1]?.text === '=') &&
    first.fields.length === 0
  )
    return { kind: 'assign', variable: first.name, value: parsePipeline(new Cursor(tokens.slice(2))) };
  if (first.kind === 'word' && ['define', 'template', 'block', 'break', 'continue'].includes(first.text))
    throw bad(`{{${first.text}}} is not supported`);
  return { kind: 'print', value: parsePipeline(new Cursor(tokens)) };
}

function parseRange(tokens: Token[], state: State): Node {
  const names: string[] = [];
  let rest = tokens;
  const assigned = tokens.findIndex((token) => token.text === ':=');
  if (assigned > 0) {
    for (const token of tokens.slice(0, assigned)) if (token.kind === 'variable') names.push(token.name);
    rest = tokens.slice(assigned + 1);
  }
  const over = parsePipeline(new Cursor(rest));
  const [one, two] = names;
  const variables =
    two !== undefined ? { key: one as string, value: two } : one !== undefined ? { value: one } : {};
  return { kind: 'range', over, ...variables, ...parseBlock(state, 'range') };
}

function parseBlock(state: State, opened: string): { body: Node[]; otherwise: Node[] } {
  const { nodes: body, end } = parseNodes(state);
  if (!end) throw bad(`{{${opened}}} without {{end}}`);
  if (end.word === 'end') return { body, otherwise: [] };
  const [chained] = end.tokens;
  if (chained?.kind === 'word' && (chained.text === 'if' || chained.text === 'with'))
    return { body, otherwise: [parseAction(end.tokens, state)] };
  const { nodes: otherwise, end: last } = parseNodes(state);
  if (last?.word !== 'end') throw bad(`{{else}} without {{end}}`);
  return { body, otherwise };
}

class Cursor {
  readonly #tokens: Token[];
  #at = 0;

  constructor(tokens: Token[]) {
    this.#tokens = tokens;
  }

  peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  next(): Token | undefined {
    return this.#tokens[this.#at++];
  }
}

function parsePipeline(cursor: Cursor, nested = false): Expression {
  let value = parseCommand(cursor);
  while (cursor.peek()?.text === '|') {
    cursor.next();
    const into = parseCommand(cursor);
    if (into.kind !== 'call') throw bad('only a function may follow a pipe');
    value = { ...into, args: [...into.args, value] };
  }
  const rest = cursor.peek();
  if (nested ? rest?.text !== ')' : rest !== undefined) throw bad(`unexpected ${rest?.text ?? 'end'}`);
  return value;
}

function parseCommand(cursor: Cursor): Expression {
  const first = cursor.peek();
  if (!first) throw bad('missing value for command');
  if (first.kind !== 'word') {
    const value = parseOperand(cursor);
    const after = cursor.peek();
    if (after && after.text !== '|' && after.text !== ')')
      throw bad(`unexpected ${after.text} after a value`);
    return value;
  }
  cursor.next();
  const args: Expression[] = [];
  for (let next = cursor.peek(); next && next.text !== '|' && next.text !== ')'; next = cursor.peek())
    args.push(parseOperand(cursor));
  return { kind: 'call', name: first.text, args };
}

function parseOperand(cursor: Cursor): Expression {
  const token = cursor.next();
  if (!token) throw bad('missing value');
  switch (token.kind) {
    case 'literal':
      return { kind: 'literal', value: token.value };
    case 'field':
      return { kind: 'path', from: 'dot', fields: token.fields };
    case 'variable':
      return { kind: 'path', from: { variable: token.name }, fields: token.fields };
    case 'word':
      return { kind: 'call', name: token.text, args: [] };
    case 'symbol': {
      if (token.text !== '(') throw bad(`unexpected ${token.text}`);
      const value = parsePipeline(cursor, true);
      cursor.next();
      const after = cursor.peek();
      if (after?.kind === 'field' && after.glued) {
        cursor.next();
        return { kind: 'path', from: value, fields: after.fields };
      }
      return value;
    }
  }
}

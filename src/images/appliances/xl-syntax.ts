import { bounds } from './bounds.ts';
import { refusal } from './refuse.ts';

export type XlValue = string | number | XlValue[];

/**
 * The assignments of an xl configuration (xl.cfg(5)): names, numbers, strings and lists. It looks like Python, which its
 * predecessor ran; nothing here is run, and whatever is more than that is refused.
 */
export function parseXl(text: string, where: string): Map<string, XlValue> {
  const tokens = tokensOf(text, where);
  const settings = new Map<string, XlValue>();
  let at = 0;
  const fail = (token: Token | undefined, wanted: string): never => {
    throw refusal(
      `${where}, line ${token?.line ?? tokens.at(-1)?.line ?? 1}`,
      `${wanted} is expected, not ${token ? `"${token.text}"` : 'the end'}`,
    );
  };
  const value = (depth: number): XlValue => {
    const token = tokens[at++];
    if (token?.kind === 'string') return token.text;
    if (token?.kind === 'number') return Number(token.text);
    if (token?.text !== '[') return fail(token, 'a string, a number or a list');
    if (depth > 4) throw refusal(`${where}, line ${token.line}`, 'its lists are nested too deeply');
    const list: XlValue[] = [];
    while (tokens[at]?.text !== ']' || tokens[at]?.kind !== 'mark') {
      list.push(value(depth + 1));
      if (list.length > mostItems) throw refusal(where, `a list has more than ${mostItems} items`);
      if (isMark(tokens[at], ',')) at++;
      else if (!isMark(tokens[at], ']')) fail(tokens[at], 'a comma or the end of the list');
    }
    at++;
    return list;
  };
  while (at < tokens.length) {
    const name = tokens[at++]!;
    if (isMark(name, ';')) continue;
    if (name.kind !== 'name') fail(name, 'a name');
    const assign = tokens[at++];
    if (!isMark(assign, '=') && !isMark(assign, '+=')) fail(assign, 'an "="');
    const given = value(0);
    const before = settings.get(name.text);
    const appended = assign?.text === '+=' && Array.isArray(before) && Array.isArray(given);
    settings.set(name.text, appended ? [...(before as XlValue[]), ...(given as XlValue[])] : given);
    if (settings.size > mostItems) throw refusal(where, `it has more than ${mostItems} settings`);
  }
  return settings;
}

const mostItems = 1000;

interface Token {
  kind: 'name' | 'string' | 'number' | 'mark';
  text: string;
  line: number;
}

function isMark(token: Token | undefined, text: string): boolean {
  return token?.kind === 'mark' && token.text === text;
}

function tokensOf(text: string, where: string): Token[] {
  const tokens: Token[] = [];
  const pattern =
    /([ \t\r]+|\\\r?\n|#[^\n]*)|(\n)|"""([\s\S]*?)"""|'''([\s\S]*?)'''|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'|(-?(?:0x[0-9a-fA-F]+|\d+))(?![\w.])|([A-Za-z_]\w*)|(\+=|[[\]=,;])|([\s\S])/g;
  let line = 1;
  for (const match of text.matchAll(pattern)) {
    const [whole, space, newline, long, longSingle, double, single, number, name, mark, other] = match;
    const string = long ?? longSingle ?? (double ?? single)?.replace(/\\(.)/g, '$1');
    if (string !== undefined) tokens.push({ kind: 'string', text: string, line });
    else if (number !== undefined) tokens.push({ kind: 'number', text: number, line });
    else if (name !== undefined) tokens.push({ kind: 'name', text: name, line });
    else if (mark !== undefined) tokens.push({ kind: 'mark', text: mark, line });
    else if (other !== undefined)
      throw refusal(
        `${where}, line ${line}`,
        `"${other}" is nothing that such a file has: only names, numbers, strings and lists are read`,
      );
    if (space === undefined || newline !== undefined || string !== undefined)
      line += whole.split('\n').length - 1;
    else if (space.includes('\n')) line++;
    if (tokens.length > bounds.text / 64) throw refusal(where, 'it is too long');
  }
  return tokens;
}

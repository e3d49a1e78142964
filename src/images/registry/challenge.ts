/** One challenge of a `WWW-Authenticate` header. */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  scheme: string;
  parameters: Map<string, string>;
}

const maxHeader = 8192;
const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;
const space = /[ \t]*/y;

/** Parses `WWW-Authenticate` by RFC 9110, section 11.6.1; what is malformed ends the list, nothing is thrown. */
export function parseChallenges(header: string | undefined): Challenge[] {
  const text = (header ?? '').slice(0, maxHeader);
  const challenges: Challenge[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match;
  };
  while (at < text.length) {
    take(space);
    if (text[at] === ',') {
      at++;
      continue;
    }
    const word = take(token)?.[0];
    if (word === undefined) break;
    take(space);
    if (text[at] !== '=') {
      challenges.push({ scheme: word.toLowerCase(), parameters: new Map() });
      continue;
    }
    at++;
    take(space);
    const value = take(quoted)?.[1]?.replace(/\\(.)/g, '$1') ?? take(token)?.[0];
    const current = challenges.at(-1);
    if (value === undefined || !current) break;
    current.parameters.set(word.toLowerCase(), value);
  }
  return challenges;
}

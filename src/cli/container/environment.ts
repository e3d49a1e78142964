import { readFileSync } from 'node:fs';
import { errnoOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';

/** `NAME=VALUE` as given; a bare `NAME` takes its value from here, or unsets it in the image's environment. */
export function parseEnvironment(given: string): string {
  if (given === '' || given.startsWith('=')) throw new Failure(`invalid environment variable: ${given}`);
  if (given.includes('=')) return given;
  const value = process.env[given];
  return value === undefined ? given : `${given}=${value}`;
}

/** The lines of an env file: blank and `#` lines dropped, names checked, bare names looked up. */
export function readEnvironmentFile(path: string): string[] {
  return readLines(path).flatMap((line) => {
    const [name = ''] = line.split('=', 1);
    if (name === '') throw new Failure(`invalid env file (${path}): no variable name on line '${line}'`);
    if (/\s/.test(name))
      throw new Failure(`invalid env file (${path}): variable '${name}' contains whitespaces`);
    if (line.includes('=')) return [line];
    const value = process.env[name];
    return value === undefined ? [] : [`${name}=${value}`];
  });
}

/** `key=value` lines of a label file. */
export function readLabelFile(path: string): string[] {
  return readLines(path);
}

function readLines(path: string): string[] {
  let text: string;
  try {
    const data = readFileSync(path);
    text = new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') throw new Failure(`open ${path}: no such file or directory`, { cause });
    if (errnoOf(cause) === 'ERR_ENCODING_INVALID_ENCODED_DATA')
      throw new Failure(`${path} holds invalid UTF-8`, { cause });
    throw cause;
  }
  return text
    .split(/\r?\n/)
    .map((line) => line.trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** `key=value` (or a bare key) pairs as an object, later ones winning. */
export function toMap(pairs: readonly string[]): Record<string, string> {
  const map: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 0) map[pair] = '';
    else map[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return { ...map };
}

import { isEncodable } from '../dns/query.ts';

/** Names as DNS writes them, one after the other and none compressed; what is no name is left out. */
export function encodeNames(names: readonly string[]): Buffer {
  return Buffer.concat(
    names
      .map((name) => name.replace(/\.$/, ''))
      .filter(isEncodable)
      .map(encodeName),
  );
}

function encodeName(name: string): Buffer {
  const labels = name
    .split('.')
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

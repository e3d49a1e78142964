import { createHash, randomInt } from 'node:crypto';

/**
 * SHA-512 crypt, `$6$…`, as `crypt(3)` and every cloud-init take it: https://www.akkadia.org/drepper/SHA-crypt.txt. Blocks
 * for some milliseconds, as is its purpose.
 */
export function sha512Crypt(password: string, salt = randomText(16)): string {
  const key = Buffer.from(password);
  const saltBytes = Buffer.from(salt);
  const alternate = digest(key, saltBytes, key);
  const first = digest(key, saltBytes, repeated(alternate, key.length), byBits(key.length, alternate, key));
  const p = repeated(digest(...Array<Buffer>(key.length).fill(key)), key.length);
  const s = repeated(digest(...Array<Buffer>(16 + first[0]!).fill(saltBytes)), saltBytes.length);
  let current = first;
  for (let round = 0; round < 5000; round++) {
    const odd = round % 2 === 1;
    current = digest(
      odd ? p : current,
      round % 3 === 0 ? empty : s,
      round % 7 === 0 ? empty : p,
      odd ? current : p,
    );
  }
  return `$6$${salt}$${encode(current)}`;
}

/** Letters and digits that nobody mistakes for another; for salts and generated passwords. */
export function randomText(length: number): string {
  const letters = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789';
  return Array.from({ length }, () => letters[randomInt(letters.length)]).join('');
}

const empty = Buffer.alloc(0);

function digest(...parts: Buffer[]): Buffer {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function repeated(data: Buffer, length: number): Buffer {
  return Buffer.alloc(length, data);
}

/** For every bit of the length, lowest first: one or the other. */
function byBits(length: number, one: Buffer, other: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let rest = length; rest > 0; rest >>= 1) parts.push(rest % 2 === 1 ? one : other);
  return Buffer.concat(parts);
}

const alphabet = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

function encode(data: Buffer): string {
  let text = '';
  const put = (value: number, letters: number) => {
    for (let at = 0; at < letters; at++) text += alphabet[(value >> (6 * at)) & 63];
  };
  // Three bytes, 21 apart, turning round by one with each group.
  for (let at = 0; at < 21; at++) {
    const group = [at, at + 21, at + 42];
    const [a, b, c] = [0, 1, 2].map((place) => data[group[(place + at) % 3]!]!) as [number, number, number];
    put((a << 16) | (b << 8) | c, 4);
  }
  put(data[63]!, 2);
  return text;
}

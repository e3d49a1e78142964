import { TarError } from './entry.ts';

/**
 * A number field: octal text, or base-256 when the first bit is set (GNU, star). Throws when it is neither, when it
 * is negative and `signed` is not given, or when it does not fit a double exactly.
 */
export function parseNumber(
  block: Buffer,
  start: number,
  length: number,
  what: string,
  signed = false,
): number {
  const value =
    block[start]! & 0x80 ? parseBase256(block, start, length) : parseOctal(block, start, length, what);
  if (!Number.isSafeInteger(value)) throw new TarError(`${what} is out of range`);
  if (value < 0 && !signed) throw new TarError(`${what} is negative`);
  return value;
}

function parseOctal(block: Buffer, start: number, length: number, what: string): number {
  let text = block.toString('latin1', start, start + length);
  const end = text.indexOf('\0');
  if (end >= 0) text = text.slice(0, end);
  text = text.trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) throw new TarError(`${what} is not an octal number`);
  return Number.parseInt(text, 8);
}

/** Two's complement, big-endian, without the marker bit. */
function parseBase256(block: Buffer, start: number, length: number): number {
  const negative = (block[start]! & 0x40) !== 0;
  let value = negative ? -1n : 0n;
  for (let i = 0; i < length; i++) {
    const byte = i === 0 ? block[start]! & 0x7f : block[start + i]!;
    value = i === 0 ? (negative ? BigInt(byte) - 128n : BigInt(byte)) : value * 256n + BigInt(byte);
  }
  return Number(value);
}

/** Octal with a trailing NUL. False when the number does not fit and must go into a PAX record. */
export function formatOctal(block: Buffer, start: number, length: number, value: number): boolean {
  if (value < 0 || value >= 8 ** (length - 1)) {
    block.write('0'.repeat(length - 1), start, 'latin1');
    return false;
  }
  block.write(value.toString(8).padStart(length - 1, '0'), start, 'latin1');
  return true;
}

/** A decimal number of a PAX record that must be a whole one and not negative. */
export function parseDecimal(text: string, what: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new TarError(`${what} is not a valid number`);
  return value;
}

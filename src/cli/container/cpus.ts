import { Failure } from '../failure.ts';

/** CPUs as billionths: `1.5`, or a fraction such as `1/2`. Exact: no floating point on the way. */
export function parseCpus(given: string): number {
  const fraction = /^(\d+)\/(\d+)$/.exec(given);
  if (fraction) {
    const value = (Number(fraction[1]) * 1e9) / Number(fraction[2]);
    if (!Number.isSafeInteger(value)) throw new Failure('value is too precise');
    return value;
  }
  const match = /^(\d*)(?:\.(\d*))?$/.exec(given);
  if (!match || (match[1] === '' && !match[2])) throw new Failure(`not a number of CPUs: ${given}`);
  const digits = (match[2] ?? '').replace(/0+$/, '');
  if (digits.length > 9) throw new Failure('value is too precise');
  return Number(match[1]) * 1e9 + Number(digits.padEnd(9, '0'));
}

import { isleError } from '../../../lib/errors.ts';

/** A structured payload of {@link ../protocol.ts}: names may repeat, and their order is kept. */
export type Fields = [name: string, value: string][];

/** More of them than any answer has. */
const maxFields = 65_536;

/** The payload. Throws `invalidParameter` when a value has a NUL, which no path, argument or name can have. */
export function encodeFields(fields: Fields): Buffer {
  for (const [name, value] of fields)
    if (value.includes('\0'))
      throw isleError('invalidParameter', {
        message: `${JSON.stringify(value)} (${name}) contains a NUL character`,
      });
  return Buffer.from(fields.map(([name, value]) => `${name}\0${value}\0`).join(''));
}

/** Throws `guestBroken` when the payload is not a list of fields: it comes from the guest. */
export function parseFields(payload: Buffer): Fields {
  if (payload.length === 0) return [];
  if (payload.at(-1) !== 0) throw isleError('guestBroken', { why: 'a list of fields has no end' });
  const parts = payload.toString('utf8', 0, payload.length - 1).split('\0');
  if (parts.length % 2 !== 0) throw isleError('guestBroken', { why: 'a field has no value' });
  if (parts.length / 2 > maxFields) throw isleError('guestBroken', { why: 'it sent too many fields' });
  const fields: Fields = [];
  for (let index = 0; index < parts.length; index += 2) fields.push([parts[index]!, parts[index + 1]!]);
  return fields;
}

/** The first value of `name`. */
export function fieldOf(fields: Fields, name: string): string | undefined {
  return fields.find(([other]) => other === name)?.[1];
}

/** The first value of `name` as a whole number of 0 or more; 0 when it is absent. Throws `guestBroken`. */
export function numberOf(fields: Fields, name: string): number {
  const text = fieldOf(fields, name) ?? '0';
  const value = Number(text);
  if (!/^\d{1,20}$/.test(text))
    throw isleError('guestBroken', { why: `${name} is ${JSON.stringify(text.slice(0, 40))}` });
  return value;
}

export type Json = Record<string, unknown>;
/** Makes the error that says what is wrong with the document. */
export type Fail = (why: string) => Error;

/** The object that `content` is, or `fail`'s error. The caller has bounded its size. */
export function parseJson(content: Buffer, fail: Fail): Json {
  let value: unknown;
  try {
    value = JSON.parse(content.toString('utf8'));
  } catch {
    throw fail('it is not valid JSON');
  }
  if (!isObject(value)) throw fail('it is not a JSON object');
  return value;
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

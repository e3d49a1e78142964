/** The API's spelling of plain data: names begin with a capital. Maps whose keys are the user's must not go through here. */
export function capitalised(data: unknown): unknown {
  if (Array.isArray(data)) return data.map(capitalised);
  if (typeof data !== 'object' || data === null) return data;
  return Object.fromEntries(
    Object.entries(data).map(([name, value]) => [
      name.charAt(0).toUpperCase() + name.slice(1),
      capitalised(value),
    ]),
  );
}

import { Failure } from '../failure.ts';

/** One line of CSV (RFC 4180) as Go's encoding/csv reads it: fields may be quoted to hold commas. */
export function parseCsv(line: string): string[] {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    if (line[at] === '"') {
      let field = '';
      at++;
      for (;;) {
        const quote = line.indexOf('"', at);
        if (quote < 0) throw new Failure(`extraneous or missing " in quoted-field`);
        field += line.slice(at, quote);
        at = quote + 1;
        if (line[at] !== '"') break;
        field += '"';
        at++;
      }
      if (at < line.length && line[at] !== ',') throw new Failure(`extraneous or missing " in quoted-field`);
      fields.push(field);
    } else {
      const comma = line.indexOf(',', at);
      const field = line.slice(at, comma < 0 ? undefined : comma);
      if (field.includes('"')) throw new Failure('bare " in non-quoted-field');
      fields.push(field);
      at = comma < 0 ? line.length : comma;
    }
    if (at >= line.length) return fields;
    at++;
    if (at === line.length) return [...fields, ''];
  }
}

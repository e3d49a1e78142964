import { randomBytes } from 'node:crypto';

/** A fresh 64-digit hexadecimal id, as Docker gives containers, execs and networks. Never all decimal in its
 * short form: Docker avoids such ids because hostnames made of them are taken for numbers. */
export function newId(): string {
  for (;;) {
    const id = randomBytes(32).toString('hex');
    if (!/^\d+$/.test(id.slice(0, 12))) return id;
  }
}

/** The 12-digit form that tables show. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}

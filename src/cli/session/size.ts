import type { Client } from '../client/client.ts';

export interface Size {
  columns: number;
  rows: number;
}

/** The size of the terminal on stdout (or stdin), or undefined where there is none. */
export function terminalSize(): Size | undefined {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.isTTY && stream.columns > 0) return { columns: stream.columns, rows: stream.rows };
  }
  return undefined;
}

/** Tells the engine the terminal's size, now and at every change. `path` is the container's or the exec's. */
export function resizer(client: Client, path: string): () => void {
  return () => {
    const size = terminalSize();
    if (!size) return;
    // A process that has just ended cannot be resized; nothing is lost by that.
    client.post(`${path}/resize`, { query: { h: size.rows, w: size.columns } }).catch(() => {});
  };
}

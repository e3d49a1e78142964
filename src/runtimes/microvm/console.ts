import { readBounded } from '../confined/bounded-file.ts';

/** As native/shim/console.c writes it. */
const position = 16;
const ring = 64 * 1024;

/** The last bytes a guest wrote on its console, at most 64 KiB; '' when there are none. */
export async function readConsole(path: string): Promise<string> {
  const bytes = await readBounded(path, position + ring);
  const head = bytes?.toString('latin1', 0, position) ?? '';
  if (bytes === undefined || !/^[0-9a-f]{16}$/.test(head)) return '';
  const written = BigInt(`0x${head}`);
  const data = bytes.subarray(position);
  if (written <= BigInt(data.length)) return data.toString('latin1', 0, Number(written));
  const at = Number(written % BigInt(ring));
  return Buffer.concat([data.subarray(at), data.subarray(0, at)]).toString('latin1');
}

/** The last `count` lines for people: without colours and other control characters, each at most 300 long. */
export function lastLines(console: string, count: number): string[] {
  return console
    .replaceAll(/\p{Cc}\[[0-9;?]*[A-Za-z]/gu, '')
    .split(/\r*\n|\r/)
    .map((line) =>
      line
        .replaceAll(/[^\x20-\x7e]/g, '')
        .trimEnd()
        .slice(0, 300),
    )
    .filter((line) => line !== '')
    .slice(-count);
}

/** The line in which the guest's kernel says that it panicked. */
export function panicOf(console: string): string | undefined {
  return lastLines(console, 2000).findLast((line) => line.includes('Kernel panic - not syncing'));
}

import { readFile } from 'node:fs/promises';
import type { IdMap } from '../runtime.ts';

type Table = { titles: string[]; processes: string[][] };

/** Columns of ps(1) with ids: the line of /proc/PID/status, and which of its four (real, effective, saved, file system). */
const columns: Record<string, ['Uid' | 'Gid', number]> = Object.fromEntries(
  [['Uid', 'USER', 'UID'] as const, ['Gid', 'GROUP', 'GID'] as const].flatMap(([line, name, id]) =>
    [['', 1] as const, ['E', 1] as const, ['R', 0] as const, ['S', 2] as const, ['F', 3] as const].flatMap(
      ([kind, at]): [string, ['Uid' | 'Gid', number]][] => [
        [kind + name, [line, at]],
        [kind + id, [line, at]],
      ],
    ),
  ),
);

/** What `ps` on the host says of processes in a user namespace, with the ids that they have inside. */
export async function withInsideIds(table: Table, map: IdMap | undefined): Promise<Table> {
  const wanted = table.titles.flatMap((title, at) => (Object.hasOwn(columns, title) ? [at] : []));
  if (map === undefined || wanted.length === 0) return table;
  const pidColumn = table.titles.indexOf('PID');
  const processes = await Promise.all(
    table.processes.map(async (fields) => {
      const status = await readFile(`/proc/${fields[pidColumn]}/status`, 'latin1').catch(() => '');
      return fields.map((field, at) =>
        wanted.includes(at) ? inside(table.titles[at]!, field, status, map) : field,
      );
    }),
  );
  return { titles: table.titles, processes };
}

/** Root by name, as everybody has it, where `ps` shows names: the others' are known inside only. */
function inside(title: string, shown: string, status: string, { hostId, size }: IdMap): string {
  const [line, at] = columns[title]!;
  const ids = new RegExp(`^${line}:\\t(.*)$`, 'm').exec(status)?.[1]?.split('\t') ?? [];
  const id = Number(ids[at] ?? Number.NaN) - hostId;
  if (!(id >= 0 && id < size)) return shown;
  const isNumber = /(UID|GID)$/.test(title) && /^\d+$/.test(shown);
  return id === 0 && !isNumber ? 'root' : String(id);
}

import type { Client } from '../client/client.ts';
import type { MachineSummary } from '../client/machine-types.ts';
import type { ContainerSummary, ImageSummary, NetworkBody, VolumeBody } from '../client/types.ts';
import type { Command } from '../command.ts';
import type { AnyFlag, Completion } from '../flags.ts';
import { commands, findCommand, firstWords, groups, secondWords } from '../registry.ts';

/** What may stand at the last of `words` (those after `isle`), as lines for the shells' scripts. */
export async function candidates(client: Client, words: readonly string[]): Promise<string[]> {
  const last = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const [first] = before;
  if (first === undefined) return starting(last, firstWords().map(described));
  if (before.length === 1 && Object.hasOwn(groups, first))
    return starting(
      last,
      secondWords(first).map((word) => `${word}\t${findCommand([first, word])?.entry.summary ?? ''}`),
    );
  const found = findCommand(before);
  if (!found) return [];
  const { command } = await found.entry.load();
  const place = whereIn(command, before.slice(found.words));
  if (place.flag) return starting(last, await namesFor(client, place.flag.complete ?? 'file'));
  if (last.startsWith('-') && !place.ended) return starting(last, flagsOf(command));
  if (found.name === 'help')
    return starting(last, before.length === 1 ? firstWords().map(described) : secondWords(before[1]!));
  const kinds = command.complete ?? [];
  const kind = kinds[Math.min(place.position, kinds.length - 1)];
  const repeats = command.args[1] > kinds.length || place.position < kinds.length;
  return kind === undefined || !repeats ? [] : starting(last, await namesFor(client, kind));
}

function described(word: string): string {
  const summary = Object.hasOwn(groups, word)
    ? groups[word]
    : (findCommand([word])?.entry.summary ?? commands[word]?.summary);
  return `${word}\t${summary ?? ''}`;
}

function starting(prefix: string, lines: readonly string[]): string[] {
  return lines.filter((line) => line === ':file' || line.startsWith(prefix)).sort();
}

function flagsOf(command: Command): string[] {
  return Object.entries(command.flags)
    .filter(([, flag]) => !flag.hidden)
    .map(([name, flag]) => `--${name}\t${flag.help}`);
}

/** Whether a flag waits for its value, and otherwise how many arguments came before. */
function whereIn(
  command: Command,
  words: readonly string[],
): { flag: AnyFlag | undefined; position: number; ended: boolean } {
  const byShort = new Map(Object.values(command.flags).map((flag) => [flag.short, flag]));
  let position = 0;
  let ended = false;
  let waiting: AnyFlag | undefined;
  for (const word of words) {
    if (waiting) {
      waiting = undefined;
      continue;
    }
    if (ended || !word.startsWith('-') || word === '-') {
      position++;
      if (command.interspersed === false) ended = true;
      continue;
    }
    if (word === '--') {
      ended = true;
      continue;
    }
    const flag = word.startsWith('--') ? command.flags[word.slice(2)] : byShort.get(word.at(-1));
    if (flag?.value !== undefined && !word.includes('=')) waiting = flag;
  }
  return { flag: waiting, position, ended };
}

/** Names from the engine; nothing when it does not run. */
async function namesFor(client: Client, kind: Completion): Promise<string[]> {
  if (typeof kind !== 'string') return [...kind];
  if (kind === 'file') return [':file'];
  if (kind === 'command') return [];
  const signal = AbortSignal.timeout(1000);
  try {
    switch (kind) {
      case 'container':
      case 'running': {
        const query = { all: kind === 'container' || undefined };
        const rows = await client.get<ContainerSummary[]>('/containers/json', query, signal);
        return rows.flatMap((row) =>
          row.Names.map((name) => `${name.slice(1)}\t${row.Image} (${row.State})`),
        );
      }
      case 'machine':
      case 'running-machine': {
        const rows = await client.get<MachineSummary[]>('/isle/v1/machines', undefined, signal);
        return rows
          .filter((row) => kind === 'machine' || row.State === 'running' || row.State === 'paused')
          .map((row) => `${row.Name}\t${row.OsVariant ?? row.Arch} (${row.State})`);
      }
      case 'image': {
        const rows = await client.get<ImageSummary[]>('/images/json', undefined, signal);
        return rows.flatMap((row) => row.RepoTags ?? []);
      }
      case 'runtime': {
        const { Runtimes } = await client.get<{ Runtimes: object | null }>('/info', undefined, signal);
        return Object.keys(Runtimes ?? {});
      }
      case 'network':
        return (await client.get<NetworkBody[]>('/networks', undefined, signal)).map((row) => row.Name);
      case 'volume': {
        const { Volumes } = await client.get<{ Volumes: VolumeBody[] | null }>('/volumes', undefined, signal);
        return (Volumes ?? []).map((row) => row.Name);
      }
    }
  } catch {
    return [];
  }
}

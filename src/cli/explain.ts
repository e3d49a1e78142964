import type { ApiError } from './client/errors.ts';
import type { MachineSummary } from './client/machine-types.ts';
import type { ContainerSummary, ImageSummary, NetworkBody, VolumeBody } from './client/types.ts';
import type { Context } from './context.ts';
import { Failure } from './failure.ts';
import { nearest } from '../lib/suggest.ts';

/** What the engine refused, for people: its words, a name that was probably meant, and the exit code. */
export async function explain(error: ApiError, context: Context, errorCode: number): Promise<Failure> {
  const hint = await suggestion(error.message, context).catch(() => undefined);
  return new Failure(error.message, {
    exitCode: exitCodeOf(error.message, errorCode),
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}

/** 127 and 126 for a command that is not there or cannot be run, read from the text as Docker's client does. */
function exitCodeOf(message: string, otherwise: number): number {
  if (
    /executable file not found|no such file or directory: unknown|system cannot find the file/i.test(message)
  )
    return 127;
  if (/exec.*permission denied|is a directory: unknown|exec format error/i.test(message)) return 126;
  return otherwise;
}

async function suggestion(message: string, { client }: Context): Promise<string | undefined> {
  const container = /no such container: \/?(\S+)/i.exec(message)?.[1];
  if (container !== undefined) {
    const all = await client.get<ContainerSummary[]>('/containers/json', { all: true });
    return didYouMean(
      container,
      all.flatMap((one) => one.Names.map((name) => name.slice(1))),
    );
  }
  const machine = /no such (?:virtual )?machine: \/?(\S+)/i.exec(message)?.[1];
  if (machine !== undefined) {
    const all = await client.get<MachineSummary[]>('/isle/v1/machines');
    return didYouMean(
      machine,
      all.map((one) => one.Name),
    );
  }
  const image = /no such image: (\S+)/i.exec(message)?.[1];
  if (image !== undefined) {
    const all = await client.get<ImageSummary[]>('/images/json');
    const names = all.flatMap((one) => one.RepoTags ?? []);
    return didYouMean(image, [...names, ...names.map((name) => name.replace(/:latest$/, ''))]);
  }
  const volume = /get (\S+): no such volume/i.exec(message)?.[1];
  if (volume !== undefined) {
    const all = await client.get<{ Volumes: VolumeBody[] | null }>('/volumes');
    return didYouMean(
      volume,
      (all.Volumes ?? []).map((one) => one.Name),
    );
  }
  const network = /network (\S+) not found/i.exec(message)?.[1];
  if (network !== undefined) {
    const all = await client.get<NetworkBody[]>('/networks');
    return didYouMean(
      network,
      all.map((one) => one.Name),
    );
  }
  return undefined;
}

function didYouMean(word: string, names: readonly string[]): string | undefined {
  const near = nearest(word, names);
  return near === undefined ? undefined : `did you mean ${near}?`;
}

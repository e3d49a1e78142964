import { Failure } from '../failure.ts';

export interface RestartBody {
  Name: string;
  MaximumRetryCount: number;
}

/** `no`, `always`, `unless-stopped`, `on-failure[:N]`. */
export function parseRestart(given: string | undefined): RestartBody {
  const [name = '', count, ...more] = (given ?? 'no').split(':');
  if (name === '' && count !== undefined)
    throw new Failure('invalid restart policy format: no policy provided before colon');
  if (more.length > 0) throw new Failure('invalid restart policy format: more than one colon');
  if (count !== undefined && !/^-?\d+$/.test(count))
    throw new Failure('invalid restart policy format: maximum retry count must be an integer');
  return { Name: name, MaximumRetryCount: count === undefined ? 0 : Number(count) };
}

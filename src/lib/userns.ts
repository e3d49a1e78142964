import { isleError } from './errors.ts';

/** Ids that a user namespace has when nobody says: all that a distribution uses. */
export const usualIds = 65_536;

/** What `--userns` says: the host's, one of its own, or what is usual. */
export interface UsernsWish {
  mode: 'usual' | 'host' | 'own';
  size: number;
}

/**
 * `''`, `host`, `auto`, `auto:size=N` (as Podman has it) or `private`, which is the same as `auto`. Throws
 * `invalidParameter`.
 */
export function parseUserns(text: string): UsernsWish {
  if (text === '' || text === 'default') return { mode: 'usual', size: usualIds };
  if (text === 'host') return { mode: 'host', size: 0 };
  if (text === 'auto' || text === 'private') return { mode: 'own', size: usualIds };
  const size = /^auto:size=(\d{1,10})$/.exec(text)?.[1];
  if (size !== undefined) return { mode: 'own', size: Number(size) };
  const message = `invalid user namespace mode ${JSON.stringify(text)}: auto, auto:size=N, private or host`;
  throw isleError('invalidParameter', { message });
}

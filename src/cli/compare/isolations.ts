import { Failure } from '../failure.ts';

/** The ways to isolate a workload that are compared, weakest first. */
export const isolationNames = ['container', 'userns', 'system', 'microvm'] as const;
export type IsolationName = (typeof isolationNames)[number];

export interface Isolation {
  name: IsolationName;
  title: string;
  /** In a sentence: `a container`. */
  words: string;
  /** What HostConfig says for it. */
  hostConfig: Record<string, unknown>;
  /** The runtime that the engine must have; absent: its default one. */
  runtime?: string;
  /** How the user asks for it. */
  flags: string;
}

export const isolations: Readonly<Record<IsolationName, Isolation>> = {
  container: {
    name: 'container',
    title: 'container',
    words: 'a container',
    hostConfig: { UsernsMode: 'host' },
    flags: '--userns host',
  },
  userns: {
    name: 'userns',
    title: 'container+userns',
    words: 'a container with a user namespace',
    hostConfig: { UsernsMode: 'auto' },
    flags: '--userns auto',
  },
  system: {
    name: 'system',
    title: 'system container',
    words: 'a system container',
    hostConfig: { Runtime: 'system' },
    runtime: 'system',
    flags: '--runtime system',
  },
  microvm: {
    name: 'microvm',
    title: 'microVM',
    words: 'a microVM',
    hostConfig: { Runtime: 'microvm' },
    runtime: 'microvm',
    flags: '--runtime microvm',
  },
};

/** `container,microvm` as isolations, in the order of {@link isolationNames}. */
export function parseIsolations(given: string): IsolationName[] {
  const words = given.split(',').map((word) => word.trim());
  const wrong = words.find((word) => !isIsolation(word));
  if (wrong !== undefined)
    throw new Failure(`"${wrong}" is no isolation: choose from ${isolationNames.join(', ')}`);
  return isolationNames.filter((name) => words.includes(name));
}

function isIsolation(word: string): word is IsolationName {
  return (isolationNames as readonly string[]).includes(word);
}

import type { Container } from './model.ts';

/** How a container is kept apart, in a word for people: `container`, `userns`, or the name of Isle's own runtime. */
export function isolationOf({ runtimeName, idMap }: Pick<Container, 'runtimeName' | 'idMap'>): string {
  if (['system', 'microvm', 'machine', 'unikernel'].includes(runtimeName)) return runtimeName;
  return idMap ? 'userns' : 'container';
}

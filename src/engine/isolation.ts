import type { Container } from './model.ts';

/** How a container is kept apart, in a word for people: `container`, `userns`, or the name of Isle's own runtime. */
export function isolationOf({ runtimeName, spec }: Pick<Container, 'runtimeName' | 'spec'>): string {
  if (runtimeName === 'system' || runtimeName === 'microvm') return runtimeName;
  return spec.usernsMode === 'auto' ? 'userns' : 'container';
}

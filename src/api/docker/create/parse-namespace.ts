import type { NamespaceMode } from '../../../engine/model.ts';
import type { Fields } from '../../http/fields.ts';

type Word = 'private' | 'shareable' | 'host' | 'none' | 'container';

/** Whose namespace: a word of `allowed`, or `container:ID`. Undefined when not said. Throws `invalidParameter`. */
export function parseNamespace(fields: Fields, name: string, allowed: Word[]): NamespaceMode | undefined {
  const text = fields.text(name);
  if (text === '') return undefined;
  if (text.startsWith('container:') && allowed.includes('container')) {
    const container = text.slice('container:'.length);
    if (container === '') throw fields.invalid(name, 'the container is missing (container:NAME)');
    return { container };
  }
  const word = allowed.find((candidate) => candidate === text);
  if (word === undefined || word === 'container')
    throw fields.invalid(
      name,
      `"${text}" (${allowed.map((w) => (w === 'container' ? 'container:NAME' : w)).join(', ')})`,
    );
  return word;
}

export function formatNamespace(mode: NamespaceMode, fresh: string): string {
  if (typeof mode === 'object') return `container:${mode.container}`;
  return mode === 'private' ? fresh : mode;
}

import { parseTemplate } from './parse.ts';
import { renderTemplate } from './render.ts';

/** Parses once, renders many. */
export function compileTemplate(source: string): (data: unknown) => string {
  // Docker's command line turns the two-letter \t and \n of a shell's single quotes into tab and newline.
  const nodes = parseTemplate(source.replaceAll('\\t', '\t').replaceAll('\\n', '\n'));
  return (data) => renderTemplate(nodes, data);
}

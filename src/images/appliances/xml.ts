import { parseXml, XmlElement, XmlText } from '@rgrove/parse-xml';
import { messageOf } from '../../lib/errors.ts';
import { bounds } from './bounds.ts';
import { refusal } from './refuse.ts';

/** An element of a description. Names are without their prefix: of two namespaces, one is always enough here. */
export class Xml {
  readonly name: string;
  readonly #element: XmlElement;

  constructor(element: XmlElement) {
    this.#element = element;
    this.name = local(element.name);
  }

  attribute(name: string): string | undefined {
    const { attributes } = this.#element;
    if (Object.hasOwn(attributes, name)) return attributes[name];
    const key = Object.keys(attributes).find((each) => local(each) === name);
    return key === undefined ? undefined : attributes[key];
  }

  /** What stands in it, without spaces around it. */
  get text(): string {
    return this.#element.children
      .filter((child) => child instanceof XmlText)
      .map((child) => child.text)
      .join('')
      .trim();
  }

  children(name?: string): Xml[] {
    const all: Xml[] = [];
    for (const child of this.#element.children) {
      if (!(child instanceof XmlElement)) continue;
      if (name === undefined || local(child.name) === name) all.push(new Xml(child));
    }
    return all;
  }

  /** The first one along a path of names. */
  child(...path: string[]): Xml | undefined {
    return path.reduce<Xml | undefined>((at, name) => at?.children(name)[0], this);
  }

  /** The text along a path; undefined when it is not there or empty. */
  value(...path: string[]): string | undefined {
    return this.child(...path)?.text || undefined;
  }

  /** All below it of that name, wherever. */
  descendants(name: string): Xml[] {
    const found: Xml[] = [];
    const waiting = this.children();
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (next.name === name) found.push(next);
      waiting.push(...next.children());
    }
    return found;
  }
}

/** Reads a hostile document; `root`: what its first element has to be. No document types, so nothing to expand or fetch. */
export function readXml(content: Buffer, where: string, root: string | readonly string[]): Xml {
  const text = decode(content, where);
  if (/<!DOCTYPE/i.test(text)) throw refusal(where, 'it declares a document type, which none of these has');
  checkParts(text, where);
  checkDepth(text, where);
  let element: XmlElement | null;
  try {
    element = parseXml(text).root;
  } catch (error) {
    throw refusal(where, `it is no well-formed XML: ${messageOf(error).split('\n')[0]}`, error);
  }
  const allowed = typeof root === 'string' ? [root] : root;
  if (element === null || !allowed.includes(local(element.name)))
    throw refusal(where, `it is a <${element?.name}>, not a <${allowed.join('> or <')}>`);
  return new Xml(element);
}

/** Characters of `<?xml … ?>`: what looks for its end in more of them takes as many steps as they have pairs. */
const longestDeclaration = 256;

/** Hyper-V writes UTF-16. */
function decode(content: Buffer, where: string): string {
  const utf16 = content[0] === 0xff && content[1] === 0xfe;
  const big = content[0] === 0xfe && content[1] === 0xff;
  if (big && content.length % 2 !== 0) throw refusal(where, 'it ends in the middle of a character');
  const bytes = big ? Buffer.from(content).swap16() : content;
  const text = new TextDecoder(utf16 || big ? 'utf-16le' : 'utf-8').decode(bytes);
  // Decoded already: what it says of its encoding is true no more, and the parser knows UTF-8 only.
  const head = text.slice(0, longestDeclaration);
  return head.replace(/^(<\?xml[^>]*?)\s+encoding\s*=\s*(?:"[^"]*"|'[^']*')/, '$1') + text.slice(head.length);
}

/** What takes a parser its time: elements, attributes and references. */
function checkParts(text: string, where: string): void {
  let left = 3 * bounds.parts;
  for (const _ of text.matchAll(/[<=&]/g))
    if (--left < 0) throw refusal(where, 'it has more elements than any machine needs');
}

/** Before the parser, which calls itself for each level. Comments and such make this count too high at most. */
function checkDepth(text: string, where: string): void {
  let depth = 0;
  for (const [tag] of text.matchAll(/<\/?[^<>!?][^<>]*>?/g)) {
    if (tag.startsWith('</')) depth--;
    else if (!tag.endsWith('/>')) depth++;
    if (depth > bounds.depth) throw refusal(where, `its elements are nested more than ${bounds.depth} deep`);
  }
}

function local(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

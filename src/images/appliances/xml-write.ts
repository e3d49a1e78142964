export interface XmlNode {
  text(indent: string): string;
}

/** An element with children or with text, whatever characters are in it. */
export function element(
  name: string,
  attributes: Record<string, string>,
  ...content: (XmlNode | string)[]
): XmlNode {
  const start = `<${name}${Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${escaped(value)}"`)
    .join('')}`;
  return {
    text(indent) {
      if (content.length === 0) return `${indent}${start}/>`;
      if (content.every((each) => typeof each === 'string'))
        return `${indent}${start}>${content.map(escaped).join('')}</${name}>`;
      const inside = content.map((each) =>
        typeof each === 'string' ? `${indent}  ${escaped(each)}` : each.text(`${indent}  `),
      );
      return `${indent}${start}>\n${inside.join('\n')}\n${indent}</${name}>`;
    },
  };
}

/** XML has no way to write control characters (but for tab and new lines), nor halves of surrogate pairs. */
function escaped(text: string): string {
  return (
    text
      .toWellFormed()
      // oxlint-disable-next-line no-control-regex
      .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, ' ')
      .replace(/[&<>"'\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`)
  );
}

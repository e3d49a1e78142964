/** Splits at spaces as a Dockerfile does: quotes hold words together, a backslash takes the next character as it is. */
export function words(text: string): string[] {
  const found: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === '\\' && quote !== "'" && i + 1 < text.length) word = (word ?? '') + text[++i]!;
    else if (quote === '' && /\s/.test(char)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) {
      quote = char;
      word ??= '';
    } else word = (word ?? '') + char;
  }
  if (word !== undefined) found.push(word);
  return found;
}

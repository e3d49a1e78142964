import { Failure } from '../failure.ts';
import type { Output } from './output.ts';

/** Asks for y or n; anything but yes (and the end of the input) is no. */
export async function confirm(output: Output, question: string): Promise<boolean> {
  const answer = await ask(output, `${question} [y/N] `, false);
  return /^y(es)?$/i.test(answer?.trim() ?? '');
}

/** One line of input, not shown while it is typed when `hidden`; undefined when the input ends first. */
export async function ask(output: Output, question: string, hidden: boolean): Promise<string | undefined> {
  output.write(question);
  const input = process.stdin;
  const raw = hidden && input.isTTY;
  if (raw) input.setRawMode(true);
  let typed = '';
  try {
    for await (const chunk of input) {
      for (const char of (chunk as Buffer).toString()) {
        if (char === '\n' || char === '\r') return typed;
        if (raw && char === '\x03') throw new Failure('cancelled', { exitCode: 130 });
        if (raw && char === '\x04') return typed === '' ? undefined : typed;
        if (raw && (char === '\x7f' || char === '\b')) typed = typed.slice(0, -1);
        else typed += char;
      }
    }
    return typed === '' ? undefined : typed;
  } finally {
    if (raw) {
      input.setRawMode(false);
      output.write('\n');
    }
    input.pause();
  }
}

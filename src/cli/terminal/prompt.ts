import { Failure } from '../failure.ts';
import type { Output } from './output.ts';

/** Asks for y or n; anything but yes (and the end of the input) is no. */
export async function confirm(output: Output, question: string): Promise<boolean> {
  const answer = await ask(output, `${question} [y/N] `, false);
  return /^y(es)?$/i.test(answer?.trim() ?? '');
}

/** One line of input, not shown while it is typed when `hidden`; undefined when the input ends first. */
export async function ask(output: Output, question: string, hidden: boolean): Promise<string | undefined> {
  const input = process.stdin;
  const raw = hidden && input.isTTY;
  // Before the question: nothing typed in answer to it may be echoed.
  if (raw) input.setRawMode(true);
  output.write(question);
  try {
    return await readLine(input, raw);
  } finally {
    if (raw) {
      input.setRawMode(false);
      output.write('\n');
    }
  }
}

/** Leaves what comes after the line for the next reader; `raw`: control keys are ours to understand. */
function readLine(input: NodeJS.ReadStream, raw: boolean): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    let typed = '';
    const stop = () => {
      input.off('data', onData).off('end', onEnd).off('error', fail);
      input.pause();
    };
    const fail = (error: Error) => {
      stop();
      reject(error);
    };
    const onEnd = () => {
      stop();
      resolve(typed === '' ? undefined : typed);
    };
    const onData = (chunk: Buffer) => {
      const text = chunk.toString();
      let seen = 0;
      for (const char of text) {
        seen += char.length;
        if (char === '\n' || char === '\r') {
          stop();
          const rest = text.slice(seen);
          if (rest !== '') input.unshift(Buffer.from(rest));
          return resolve(typed);
        }
        if (raw && char === '\x03') return fail(new Failure('cancelled', { exitCode: 130 }));
        if (raw && char === '\x04') return onEnd();
        if (raw && (char === '\x7f' || char === '\b')) typed = typed.slice(0, -1);
        else typed += char;
      }
    };
    input.on('data', onData).on('end', onEnd).on('error', fail).resume();
  });
}

import { harmless } from './paint.ts';
import type { Output } from './output.ts';

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** Shows that `work` goes on, once it takes longer than a moment. Silent where stderr is no terminal. */
export async function withSpinner<T>(
  output: Output,
  text: string,
  work: Promise<T>,
  after = 400,
): Promise<T> {
  if (!output.isTerminal || process.env.TERM === 'dumb') return work;
  let frame = 0;
  let shown = false;
  const draw = () => {
    shown = true;
    output.write(`\r\x1b[2K${output.paint.cyan(frames[frame++ % frames.length]!)} ${harmless(text)}`);
  };
  let ticking: NodeJS.Timeout | undefined;
  const delay = setTimeout(() => {
    draw();
    ticking = setInterval(draw, 80);
  }, after);
  try {
    return await work;
  } finally {
    clearTimeout(delay);
    clearInterval(ticking);
    if (shown) output.write('\r\x1b[2K');
  }
}

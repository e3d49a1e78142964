import { readBounded } from '../confined/bounded-file.ts';

const maxOutcome = 16 * 1024;

/** How a machine ended, from what the supervisor wrote (native/vmm/main.c). */
export interface Outcome {
  /** QEMU ended by itself, as it does when its guest switches off. */
  off: boolean;
  /** QEMU's exit code, when it has one; not the 1 with which it says what was wrong. */
  code?: number;
  /** What ended it else. */
  reason?: string;
}

/** Reads it. Without one, the supervisor itself was killed. */
export async function readOutcome(path: string): Promise<Outcome> {
  const text = (await readBounded(path, maxOutcome))?.toString('latin1');
  if (text === undefined) return { off: false, reason: 'the supervisor of the machine was killed' };
  const facts = new Map(text.split('\n').map((line) => splitOnce(line)));
  const failed = facts.get('failed');
  if (failed !== undefined) return { off: false, reason: `it could not be started: ${clean(failed)}` };
  const qemu = facts.get('qemu') ?? '';
  if (qemu === 'exited 0') return { off: true };
  const [how, number] = qemu.split(' ');
  const words = [...facts]
    .filter(([name]) => name.endsWith('-said'))
    .map(([name, said]) => `; ${name.slice(0, -5)} said: ${clean(said)}`)
    .join('');
  const end =
    how === 'killed' ? `was killed by signal ${number}` : `ended with exit code ${number ?? 'unknown'}`;
  const itself = number === '1' && complains(facts.get('qemu-said') ?? '');
  const code = how === 'exited' && !itself ? { code: Number(number) } : {};
  return { off: false, ...code, reason: `QEMU ${end}${words}` };
}

/** Whether there is more in QEMU's words than warnings. */
function complains(said: string): boolean {
  const parts = said.split(/(?=qemu-system-)/).filter((part) => part.trim() !== '');
  return parts.some((part) => !/^qemu-system-\w+: warning:/.test(part));
}

function clean(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(-1000);
}

function splitOnce(line: string): [string, string] {
  const at = line.indexOf(' ');
  return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
}
